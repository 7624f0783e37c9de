// What takes most of the time, on a CPU: the passes of shellwise.py over the bands of images, for ReLU, the products of
// convolution.py and the pooled bands of head.py. native.py compiles this file where there is a compiler. A vector here fills a register.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int REGISTER = 64;
#elif defined(__AVX__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif

template <class T>
struct Lanes {
    typedef T V __attribute__((vector_size(REGISTER)));
    static constexpr long COUNT = REGISTER / sizeof(T);
};

// Memory for vectors, aligned as they want it.
template <class V>
class Arena {
    std::unique_ptr<char[]> memory;
    V* next = nullptr;

   public:
    void reserve(long count) {
        memory.reset(new char[(count + 1) * sizeof(V)]);
        const uintptr_t start = reinterpret_cast<uintptr_t>(memory.get());
        next = reinterpret_cast<V*>(memory.get() + (sizeof(V) - start % sizeof(V)) % sizeof(V));
    }
    V* take(long count) {
        V* taken = next;
        next += count;
        return taken;
    }
};

// Bands that share a grid: shellwise.Grid.
struct Run {
    int64_t start, stop;      // its places, of all that there are
    int64_t points;           // of the pooled grid, per axis; the grid has `window` times as many
    const void* synthesis;    // (window * points, synthesis_columns)
    int64_t synthesis_columns;
    const void* analysis;     // (at least the last shell's coefficients, points)
};

struct Place {
    int64_t input_band;       // of the signal on the grid
    int64_t first, last;      // shells that are read off it; from 0 on is the whole band
};

struct Task {
    int64_t columns, inputs, outputs;  // coefficients per axis of what goes in and comes out
    int64_t window, runs, places, threads;
    const Run* run;
    const Place* place;
    const void* coefficients;  // (inputs, inputs, columns)
    const void* scale;         // (places, columns), or null: no norm
    const void* offset;        // (places, columns)
    void* out;                 // (outputs, outputs, columns); backward: of what goes in
    const void* upstream;      // backward: (outputs, outputs, columns)
    void* scale_gradient;      // backward: (places, columns)
    void* offset_gradient;
};

// Grids of bands, from coarse to fine, of which the largest value of each cell goes on: head.py.
struct Pooling {
    Task grid;  // of one run, without a norm: its columns, inputs, points, synthesis, coefficients and threads are used
    int64_t cells, bands;
    const int64_t* band;
    void* pooled;           // (bands, cells * cells, columns), or its gradient
    int64_t* places;        // likewise: where on the grid, row by row; or null, not wanted
    int64_t backward;       // from `pooled` and `places` to `grid.out`, (inputs, inputs, columns)
};

// A matrix of numbers, entry (i, j) at i * rows + j * columns.
template <class T>
struct Matrix {
    const T* entry;
    long rows, columns;
    Matrix transposed() const { return {entry, columns, rows}; }
    Matrix from(long i) const { return {entry + i * rows, rows, columns}; }
    T at(long i, long j) const { return entry[i * rows + j * columns]; }
};

// c[m, q] = sum over k of a[m, k] b[k, q], where b and c hold vectors: strides (bk, bq) and (cm, cq).
template <class T, int M, int Q, class V = typename Lanes<T>::V>
inline void tile(long k_count, Matrix<T> a, const V* b, long bk, long bq, V* c, long cm, long cq) {
    V sum[M][Q];
    for (int m = 0; m < M; m++)
        for (int q = 0; q < Q; q++) sum[m][q] = V{};
    for (long k = 0; k < k_count; k++) {
        V x[Q];
        for (int q = 0; q < Q; q++) x[q] = b[k * bk + q * bq];
        for (int m = 0; m < M; m++) {
            const T s = a.at(m, k);
            for (int q = 0; q < Q; q++) sum[m][q] += s * x[q];
        }
    }
    for (int m = 0; m < M; m++)
        for (int q = 0; q < Q; q++) c[m * cm + q * cq] = sum[m][q];
}

template <class T, int Q, class V = typename Lanes<T>::V>
void strip(long m_count, long k_count, Matrix<T> a, const V* b, long bk, long bq, V* c, long cm, long cq) {
    constexpr int M = Q >= 4 ? 4 : 8;
    long m = 0;
    for (; m + M <= m_count; m += M) tile<T, M, Q>(k_count, a.from(m), b, bk, bq, c + m * cm, cm, cq);
    for (; m + 2 <= m_count; m += 2) tile<T, 2, Q>(k_count, a.from(m), b, bk, bq, c + m * cm, cm, cq);
    if (m < m_count) tile<T, 1, Q>(k_count, a.from(m), b, bk, bq, c + m * cm, cm, cq);
}

template <class T, class V = typename Lanes<T>::V>
void product(long m_count, long q_count, long k_count, Matrix<T> a, const V* b, long bk, long bq, V* c, long cm, long cq) {
    long q = 0;
    for (; q + 4 <= q_count; q += 4) strip<T, 4>(m_count, k_count, a, b + q * bq, bk, bq, c + q * cq, cm, cq);
    for (; q + 2 <= q_count; q += 2) strip<T, 2>(m_count, k_count, a, b + q * bq, bk, bq, c + q * cq, cm, cq);
    if (q < q_count) strip<T, 1>(m_count, k_count, a, b + q * bq, bk, bq, c + q * cq, cm, cq);
}

// One vector's columns (batch x channels): all of their coefficients, and one band's grid after the other, in cache.
template <class T>
class Block {
    typedef typename Lanes<T>::V V;
    static constexpr long LANES = Lanes<T>::COUNT;

    const Task& task;
    Arena<V> arena;
    V *source, *result, *values, *half, *other, *total, *upstream, *finer;
    V *rows, *sides, *read_rows, *read_sides;  // 2 x points each
    V *given_rows, *given_sides;
    long first_column, held;

   public:
    Block(const Task& task, bool backward) : task(task) {
        long points = 0;
        for (long r = 0; r < task.runs; r++) points = std::max<long>(points, task.run[r].points);
        const long fine = points * task.window, largest = std::max({fine, task.inputs, task.outputs});
        const long square = largest * largest;
        arena.reserve((backward ? 8 : 5) * square + 12 * largest);
        for (V** grid : {&source, &result, &values, &half, &other}) *grid = arena.take(square);
        if (backward)
            for (V** grid : {&total, &upstream, &finer}) *grid = arena.take(square);
        for (V** pair : {&rows, &sides, &read_rows, &read_sides, &given_rows, &given_sides}) *pair = arena.take(2 * largest);
    }

    void at(long column) {
        first_column = column;
        held = std::min(LANES, task.columns - column);
    }

    V load(const void* from, long row) const {
        const T* start = static_cast<const T*>(from) + row * task.columns + first_column;
        V x{};
        if (held == LANES) std::memcpy(&x, start, sizeof(V));
        else std::memcpy(&x, start, held * sizeof(T));
        return x;
    }

    void store(void* to, long row, V x) const {
        T* start = static_cast<T*>(to) + row * task.columns + first_column;
        if (held == LANES) std::memcpy(start, &x, sizeof(V));
        else std::memcpy(start, &x, held * sizeof(T));
    }

    // S C S^T of the leading `count` coefficients per axis of c, which has `stride` per row.
    void synthesise(long points, long count, Matrix<T> synthesis, const V* c, long stride, V* grid) {
        product<T>(points, count, count, synthesis, c, 1, stride, half, 1, points);
        product<T>(points, points, count, synthesis, half, points, 1, grid, points, 1);
    }

    // A v A^T into the leading coefficients.
    void analyse(long count, long points, Matrix<T> analysis, const V* grid, V* c, long stride) {
        product<T>(count, points, points, analysis, grid, points, 1, half, points, 1);
        product<T>(count, count, points, analysis, half, 1, points, c, 1, stride);
    }

    // What a shell is on the grid, as rows[r, x] and sides[r, y]: sum over r of S[y, r] rows[r, x] + sides[r, y] S[x, r].
    void spread(long points, long count, Matrix<T> synthesis, const V* c, long stride, V* rows, V* sides) {
        const long edge = count - 2;
        product<T>(points, 2, count, synthesis, c + edge * stride, 1, stride, rows, 1, points);
        product<T>(points, 2, edge, synthesis, c + edge, stride, 1, sides, 1, points);
    }

    // A shell of coefficients, from the products with its two functions along each axis.
    void gather(long points, long count, Matrix<T> analysis, const V* rows, const V* sides, V* c, long stride) {
        const long edge = count - 2;
        product<T>(count, 2, points, analysis, rows, 1, points, c + edge * stride, 1, stride);
        product<T>(edge, 2, points, analysis, sides, 1, points, c + edge, stride, 1);
    }

    struct Spread {  // two functions of a shell on the grid, and what they are multiplied by
        Matrix<T> last;
        const V *rows, *sides;
    };
    struct Gather {
        Matrix<T> last;  // (2, points)
        V *rows, *sides;
    };
    struct Norm {
        V scale, offset;
    };

    static V rectified(V x) { return V{} > x ? V{} : x; }  // which leaves what is no number

    // Rows y .. y + Y of the grid: add a shell, then read one off.
    template <int Y, bool CHANGE, bool READ, bool RECTIFY>
    void forward_rows(long y0, long n, V* grid, const Spread& add, const Gather& read, const Norm* norm) {
        T last[Y][2], analysed[Y][2];
        V side[Y][2], sum[Y][2];
        for (int y = 0; y < Y; y++)
            for (int r = 0; r < 2; r++) {
                if (CHANGE) last[y][r] = add.last.at(y0 + y, r), side[y][r] = add.sides[r * n + y0 + y];
                if (READ) analysed[y][r] = read.last.at(r, y0 + y), sum[y][r] = V{};
            }
        for (long x = 0; x < n; x++) {
            V r0{}, r1{}, g0{}, g1{};
            T s0{}, s1{}, a0{}, a1{};
            if (CHANGE) r0 = add.rows[x], r1 = add.rows[n + x], s0 = add.last.at(x, 0), s1 = add.last.at(x, 1);
            if (READ) g0 = read.rows[x], g1 = read.rows[n + x], a0 = read.last.at(0, x), a1 = read.last.at(1, x);
            for (int y = 0; y < Y; y++) {
                V v = grid[(y0 + y) * n + x];
                if (CHANGE) {
                    v += last[y][0] * r0 + last[y][1] * r1 + s0 * side[y][0] + s1 * side[y][1];
                    grid[(y0 + y) * n + x] = v;
                }
                if (READ) {
                    if (RECTIFY && norm) v = norm->offset + v * norm->scale;
                    if (RECTIFY) v = rectified(v);
                    g0 += analysed[y][0] * v, g1 += analysed[y][1] * v;
                    sum[y][0] += a0 * v, sum[y][1] += a1 * v;
                }
            }
            if (READ) read.rows[x] = g0, read.rows[n + x] = g1;
        }
        if (READ)
            for (int y = 0; y < Y; y++)
                for (int r = 0; r < 2; r++) read.sides[r * n + y0 + y] = sum[y][r];
    }

    template <bool CHANGE, bool READ, bool RECTIFY = true>
    void forward_pass(long n, V* grid, const Spread& add, const Gather& read, const Norm* norm) {
        if (READ) std::fill(read.rows, read.rows + 2 * n, V{});
        long y = 0;
        for (; y + 4 <= n; y += 4) forward_rows<4, CHANGE, READ, RECTIFY>(y, n, grid, add, read, norm);
        for (; y < n; y++) forward_rows<1, CHANGE, READ, RECTIFY>(y, n, grid, add, read, norm);
    }

    // The largest of each window of the grid, normalised and rectified, into `other`.
    void pool(long points, const Norm* norm) {
        const long window = task.window, n = window * points;
        for (long y = 0; y < points; y++)
            for (long x = 0; x < points; x++) {
                V largest{};
                for (long i = 0; i < window; i++)
                    for (long j = 0; j < window; j++) {
                        V v = values[(y * window + i) * n + x * window + j];
                        if (norm) v = norm->offset + v * norm->scale;
                        largest = i || j ? ((v > largest) | (v != v) ? v : largest) : v;
                    }
                other[y * points + x] = rectified(largest);
            }
    }

    // The cells of each band, to whose grid its shells are added; backward, where the gradient's are read off.
    void pool_bands(const Pooling& pooling) {
        const long n = task.run->points, inputs = task.inputs, cells = pooling.cells, size = n / cells;
        const Matrix<T> synthesis{static_cast<const T*>(task.run->synthesis), task.run->synthesis_columns, 1};
        const bool backward = pooling.backward;
        if (backward) {
            std::fill(total, total + n * n, V{});
            std::fill(result, result + inputs * inputs, V{});
        } else begin();
        for (long step = 0; step < pooling.bands; step++) {
            const long b = backward ? pooling.bands - 1 - step : step, finest = pooling.band[b];
            const long before = b ? pooling.band[b - 1] : finest;
            if (backward) scatter(pooling, b);
            for (long added = before + 1; added <= finest; added++) {
                const long shell = backward ? finest + before + 1 - added : added, count = 2 * shell + 1;
                const Matrix<T> last{synthesis.entry + count - 2, synthesis.rows, 1};
                if (backward) {
                    forward_pass<false, true, false>(n, total, {}, {last.transposed(), read_rows, read_sides}, nullptr);
                    gather(n, count, synthesis.transposed(), read_rows, read_sides, result, inputs);
                } else {
                    spread(n, count, synthesis, source, inputs, rows, sides);
                    forward_pass<true, false>(n, values, {last, rows, sides}, {}, nullptr);
                }
            }
            const long count = 2 * finest + 1;
            if (!b && backward) analyse(count, n, synthesis.transposed(), total, result, inputs);
            if (!b && !backward) synthesise(n, count, synthesis, source, inputs, values);
            if (!backward)
                for (long cell = 0; cell < cells * cells; cell++) {
                    const long corner = cell / cells * size * n + cell % cells * size;
                    V largest = values[corner], place = V{} + T(corner);
                    for (long y = 0; y < size; y++)
                        for (long x = 0; x < size; x++) {
                            const V v = values[corner + y * n + x];
                            const auto better = (v > largest) | (v != v);
                            largest = better ? v : largest;
                            place = better ? V{} + T(corner + y * n + x) : place;
                        }
                    const long row = b * cells * cells + cell;
                    store(pooling.pooled, row, largest);
                    if (pooling.places)
                        for (long i = 0; i < held; i++)
                            pooling.places[row * task.columns + first_column + i] = int64_t(place[i]);
                }
        }
        if (backward)
            for (long i = 0; i < inputs * inputs; i++) store(task.out, i, result[i]);
    }

    void scatter(const Pooling& pooling, long b) {
        for (long cell = 0; cell < pooling.cells * pooling.cells; cell++) {
            const long row = b * pooling.cells * pooling.cells + cell;
            const V gradient = load(pooling.pooled, row);
            const int64_t* place = pooling.places + row * task.columns + first_column;
            for (long i = 0; i < held; i++) total[place[i]][i] += gradient[i];
        }
    }

    Norm norm_of(long place) const {
        return {load(task.scale, place), load(task.offset, place)};
    }

    void begin() {
        for (long i = 0; i < task.inputs * task.inputs; i++) source[i] = load(task.coefficients, i);
        if (task.scale) source[0] = V{};
    }

    void forward() {
        begin();
        const long window = task.window, inputs = task.inputs, outputs = task.outputs;
        for (long r = 0; r < task.runs; r++) {
            const Run& run = task.run[r];
            const long points = run.points, n = window * points;
            const Matrix<T> synthesis{static_cast<const T*>(run.synthesis), run.synthesis_columns, 1};
            const Matrix<T> analysis{static_cast<const T*>(run.analysis), points, 1};
            for (long p = run.start; p < run.stop; p++) {
                const Place& place = task.place[p];
                Norm held_norm;
                const Norm* norm = nullptr;
                if (task.scale) held_norm = norm_of(p), norm = &held_norm;
                Spread add{};
                bool changed = false;  // whether `add` is still to be added
                if (p == run.start) synthesise(n, 2 * place.input_band + 1, synthesis, source, inputs, values);
                else
                    for (long shell = task.place[p - 1].input_band + 1; shell <= place.input_band; shell++) {
                        if (changed) forward_pass<true, false>(n, values, add, {}, nullptr);
                        const long count = 2 * shell + 1;
                        spread(n, count, synthesis, source, inputs, rows, sides);
                        add = {{synthesis.entry + count - 2, synthesis.rows, 1}, rows, sides};
                        changed = true;
                    }
                const bool whole = place.first == 0, pooled = window > 1;
                if (changed && (whole || pooled || place.first > place.last)) {
                    forward_pass<true, false>(n, values, add, {}, nullptr);
                    changed = false;
                }
                if (pooled) pool(points, norm);
                if (whole) {
                    if (!pooled)
                        for (long i = 0; i < n * n; i++)
                            other[i] = rectified(norm ? norm->offset + values[i] * norm->scale : values[i]);
                    analyse(2 * place.last + 1, points, analysis, other, result, outputs);
                    continue;
                }
                for (long shell = place.first; shell <= place.last; shell++) {
                    const long count = 2 * shell + 1;
                    const Gather read{analysis.from(count - 2), read_rows, read_sides};
                    if (pooled) forward_pass<false, true>(points, other, add, read, nullptr);
                    else if (changed) forward_pass<true, true>(n, values, add, read, norm);
                    else forward_pass<false, true>(n, values, add, read, norm);
                    changed = false;
                    gather(points, count, analysis, read_rows, read_sides, result, outputs);
                }
            }
        }
        for (long i = 0; i < outputs * outputs; i++) store(task.out, i, result[i]);
    }

    // Rows of the grid: the gradient of a place there, `other` or (GIVEN) of one shell of upstream, through norm and ReLU
    // to the total; then (CHANGE) read a shell off that, and take it off the grid.
    template <int Y, bool GIVEN, bool CHANGE>
    void backward_rows(long y0, long n, const Spread& given, const Spread& off, const Gather& read, const Norm* norm,
                       V& scale_sum, V& offset_sum) {
        T given_last[Y][2], last[Y][2];
        V given_side[Y][2], side[Y][2], sum[Y][2];
        for (int y = 0; y < Y; y++)
            for (int r = 0; r < 2; r++) {
                if (GIVEN) given_last[y][r] = given.last.at(y0 + y, r), given_side[y][r] = given.sides[r * n + y0 + y];
                if (CHANGE) last[y][r] = off.last.at(y0 + y, r), side[y][r] = off.sides[r * n + y0 + y], sum[y][r] = V{};
            }
        for (long x = 0; x < n; x++) {
            V g0{}, g1{}, r0{}, r1{}, t0{}, t1{};
            T a0{}, a1{}, s0{}, s1{};
            if (GIVEN) g0 = given.rows[x], g1 = given.rows[n + x], a0 = given.last.at(x, 0), a1 = given.last.at(x, 1);
            if (CHANGE) {
                r0 = off.rows[x], r1 = off.rows[n + x], s0 = off.last.at(x, 0), s1 = off.last.at(x, 1);
                t0 = read.rows[x], t1 = read.rows[n + x];
            }
            for (int y = 0; y < Y; y++) {
                const long i = (y0 + y) * n + x;
                const V v = values[i];
                V g;
                if (GIVEN) g = given_last[y][0] * g0 + given_last[y][1] * g1 + a0 * given_side[y][0] + a1 * given_side[y][1];
                else g = other[i];
                g = (norm ? norm->offset + v * norm->scale : v) <= 0 ? V{} : g;
                if (norm) {
                    offset_sum += g, scale_sum += g * v;
                    g *= norm->scale;
                }
                const V t = total[i] + g;
                total[i] = t;
                if (CHANGE) {
                    t0 += last[y][0] * t, t1 += last[y][1] * t;
                    sum[y][0] += s0 * t, sum[y][1] += s1 * t;
                    values[i] = v - (last[y][0] * r0 + last[y][1] * r1 + s0 * side[y][0] + s1 * side[y][1]);
                }
            }
            if (CHANGE) read.rows[x] = t0, read.rows[n + x] = t1;
        }
        if (CHANGE)
            for (int y = 0; y < Y; y++)
                for (int r = 0; r < 2; r++) read.sides[r * n + y0 + y] = sum[y][r];
    }

    template <bool GIVEN, bool CHANGE>
    void backward_pass(long n, const Spread& given, const Spread& off, const Gather& read, const Norm* norm,
                       V& scale_sum, V& offset_sum) {
        if (CHANGE) std::fill(read.rows, read.rows + 2 * n, V{});
        long y = 0;
        for (; y + 4 <= n; y += 4)
            backward_rows<4, GIVEN, CHANGE>(y, n, given, off, read, norm, scale_sum, offset_sum);
        for (; y < n; y++) backward_rows<1, GIVEN, CHANGE>(y, n, given, off, read, norm, scale_sum, offset_sum);
    }

    // The gradient `other` of the pooled grid, to the first of the largest of each window, as torch's.
    void unpool(long points, const Norm* norm, V& scale_sum, V& offset_sum) {
        const long window = task.window, n = window * points;
        for (long y = 0; y < points; y++)
            for (long x = 0; x < points; x++) {
                V largest{}, chosen{};  // the place in the window, as a number
                for (long i = 0; i < window * window; i++) {
                    V v = values[(y * window + i / window) * n + x * window + i % window];
                    if (norm) v = norm->offset + v * norm->scale;
                    if (!i) largest = v;
                    const auto better = (v > largest) | (v != v);
                    largest = better ? v : largest;
                    chosen = better ? V{} + T(i) : chosen;
                }
                V g = largest <= 0 ? V{} : other[y * points + x];
                if (norm) offset_sum += g;
                for (long i = 0; i < window * window; i++) {
                    const long at = (y * window + i / window) * n + x * window + i % window;
                    V here = chosen == V{} + T(i) ? g : V{};
                    if (norm) {
                        scale_sum += here * values[at];
                        here *= norm->scale;
                    }
                    total[at] += here;
                }
            }
    }

    void backward() {
        begin();
        const long window = task.window, inputs = task.inputs, outputs = task.outputs;
        for (long i = 0; i < outputs * outputs; i++) upstream[i] = load(task.upstream, i);
        std::fill(result, result + inputs * inputs, V{});
        for (long r = task.runs - 1; r >= 0; r--) {
            const Run& run = task.run[r];
            const long points = run.points, n = window * points;
            const Matrix<T> synthesis{static_cast<const T*>(run.synthesis), run.synthesis_columns, 1};
            const Matrix<T> analysis{static_cast<const T*>(run.analysis), points, 1};
            const long used = 2 * task.place[run.stop - 1].input_band + 1;
            synthesise(n, used, synthesis, source, inputs, values);
            std::fill(total, total + n * n, V{});
            for (long p = run.stop - 1; p >= run.start; p--) {
                const Place& place = task.place[p];
                Norm held_norm;
                const Norm* norm = nullptr;
                if (task.scale) held_norm = norm_of(p), norm = &held_norm;
                const bool whole = place.first == 0, pooled = window > 1;
                const bool given = !whole && !pooled && place.first == place.last;
                Spread up{};
                if (whole) synthesise(points, 2 * place.last + 1, analysis.transposed(), upstream, outputs, other);
                else {
                    if (!given) std::fill(other, other + points * points, V{});
                    for (long shell = place.first; shell <= place.last; shell++) {
                        const long count = 2 * shell + 1;
                        spread(points, count, analysis.transposed(), upstream, outputs, given_rows, given_sides);
                        up = {analysis.from(count - 2).transposed(), given_rows, given_sides};
                        if (!given) forward_pass<true, false>(points, other, up, {}, nullptr);
                    }
                }
                const long inner = p > run.start ? task.place[p - 1].input_band : place.input_band;
                const bool single = !pooled && place.input_band == inner + 1;
                V scale_sum{}, offset_sum{};
                if (pooled) unpool(points, norm, scale_sum, offset_sum);
                for (long shell = place.input_band; shell > inner; shell--) {
                    const long count = 2 * shell + 1;
                    const Matrix<T> last{synthesis.entry + count - 2, synthesis.rows, 1};
                    const Gather read{last.transposed(), read_rows, read_sides};
                    spread(n, count, synthesis, source, inputs, rows, sides);
                    const Spread off{last, rows, sides};
                    if (single && given) backward_pass<true, true>(n, up, off, read, norm, scale_sum, offset_sum);
                    else if (single) backward_pass<false, true>(n, up, off, read, norm, scale_sum, offset_sum);
                    else {
                        if (!pooled && shell == place.input_band) {
                            if (given) backward_pass<true, false>(n, up, {}, {}, norm, scale_sum, offset_sum);
                            else backward_pass<false, false>(n, up, {}, {}, norm, scale_sum, offset_sum);
                        }
                        forward_pass<false, true, false>(n, total, {}, read, nullptr);
                        for (long i = 0; i < 2 * n; i++) rows[i] = -rows[i], sides[i] = -sides[i];
                        forward_pass<true, false>(n, values, off, {}, nullptr);
                    }
                    gather(n, count, synthesis.transposed(), read_rows, read_sides, finer, inputs);
                }
                if (!pooled && inner == place.input_band) {
                    if (given) backward_pass<true, false>(n, up, {}, {}, norm, scale_sum, offset_sum);
                    else backward_pass<false, false>(n, up, {}, {}, norm, scale_sum, offset_sum);
                }
                if (norm) store(task.scale_gradient, p, scale_sum), store(task.offset_gradient, p, offset_sum);
            }
            analyse(2 * task.place[run.start].input_band + 1, n, synthesis.transposed(), total, finer, inputs);
            if (task.scale) finer[0] = V{};
            for (long i = 0; i < used; i++)
                for (long j = 0; j < used; j++) result[i * inputs + j] += finer[i * inputs + j];
        }
        for (long i = 0; i < inputs * inputs; i++) store(task.out, i, result[i]);
    }
};

// Circular convolution with a local kernel, frequency by frequency: convolution.py, whose notation this keeps.
struct Convolution {
    int64_t rows, columns, batch, inputs, outputs;  // coefficients (rows, columns, batch, channels); rows is 1 for signals
    int64_t height, width, grid, threads;           // of the taps (height, width, inputs, outputs), and pixels of their grid
    int64_t turned;  // whether they are (height, width, outputs, inputs), of the convolution whose transpose is wanted
    const void *coefficients, *taps;
    void* out;             // (rows, columns, batch, outputs)
    const void* upstream;  // or null; then the gradient of the taps is wanted, not the product
    void* taps_gradient;   // (height, width, inputs, outputs)
};

// Some output channels, S vectors of them, of all frequencies.
template <class T, int S>
class Channels {
    typedef typename Lanes<T>::V V;
    static constexpr long LANES = Lanes<T>::COUNT;
    static constexpr int B = REGISTER == 64 ? 4 : 2;  // samples, or input channels, at a time in registers
    struct Complex {
        V real[S], imaginary[S];
    };

    const Convolution& task;
    const long first, held;  // output channels
    const long down, across;  // half the kernel
    Arena<V> arena;
    T *wave_cos, *wave_sin, *minus_cos, *minus_sin;  // plane waves of the input, (batch, inputs)
    V *even, *odd;                // (down + 1, width, inputs, S): sum and difference of the taps at d and -d
    Complex *summed, *differing;  // of one k1 (across + 1, inputs): sum and difference over d and -d across
    Complex *plus, *minus;        // transfer functions of k2 and -k2, (inputs), or their gradients
    Complex *out_plus, *out_minus;  // waves of the output, or of the upstream gradient, (batch)

    Complex* take(long count) { return reinterpret_cast<Complex*>(arena.take(2 * S * count)); }

   public:
    Channels(const Convolution& task, long first)
        : task(task), first(first), held(std::min(S * LANES, task.outputs - first)), down(task.height / 2),
          across(task.width / 2) {
        const long taps = (down + 1) * task.width * task.inputs, few = (across + 1) * task.inputs;
        const long scalars = (task.batch * task.inputs + LANES - 1) / LANES;
        arena.reserve(2 * S * (taps + 2 * few + 2 * task.inputs + 2 * task.batch) + 4 * scalars);
        even = arena.take(S * taps), odd = arena.take(S * taps), summed = take(few), differing = take(few);
        plus = take(task.inputs), minus = take(task.inputs), out_plus = take(task.batch), out_minus = take(task.batch);
        for (T** waves : {&wave_cos, &wave_sin, &minus_cos, &minus_sin})
            *waves = reinterpret_cast<T*>(arena.take(scalars));
    }

    void load(const void* from, long row, V* to) const {
        const T* start = static_cast<const T*>(from) + row * task.outputs + first;
        T* lanes = reinterpret_cast<T*>(to);
        if (held == S * LANES) std::memcpy(to, start, S * sizeof(V));
        else for (long i = 0; i < S * LANES; i++) lanes[i] = i < held ? start[i] : T{};
    }

    void store(void* to, long row, const V* x) const {
        T* start = static_cast<T*>(to) + row * task.outputs + first;
        std::memcpy(start, x, held * sizeof(T));
    }

    // Tap e below the middle; j counts those of a row, and input channels.
    void load_tap(long e, long j, V* to) const {
        if (!task.turned) return load(task.taps, (down + e) * task.width * task.inputs + j, to);
        const long x = task.width - 1 - j / task.inputs, input = j % task.inputs;
        const T* tap = static_cast<const T*>(task.taps) + ((down - e) * task.width + x) * task.outputs * task.inputs;
        T* lanes = reinterpret_cast<T*>(to);
        for (long i = 0; i < S * LANES; i++) lanes[i] = i < held ? tap[(first + i) * task.inputs + input] : T{};
    }

    // Over d1: the kernel's columns as functions of k1; then their sums and differences over d2 and -d2.
    void transform_rows() {
        for (long d = 0; d <= across; d++)
            for (long i = 0; i < task.inputs; i++) {
                Complex side[2] = {};
                for (int s = 0; s < (d ? 2 : 1); s++)
                    for (long e = 0; e <= down; e++) {
                        const long tap = S * ((e * task.width + across + (s ? -d : d)) * task.inputs + i);
                        const T c = cosine_down[e], n = sine_down[e];
                        for (int v = 0; v < S; v++) {
                            side[s].real[v] += c * even[tap + v];
                            if (e) side[s].imaginary[v] -= n * odd[tap + v];
                        }
                    }
                Complex& sum = summed[d * task.inputs + i];
                Complex& difference = differing[d * task.inputs + i];
                for (int v = 0; v < S; v++) {
                    sum.real[v] = side[0].real[v] + side[1].real[v];
                    sum.imaginary[v] = side[0].imaginary[v] + side[1].imaginary[v];
                    difference.real[v] = side[0].real[v] - side[1].real[v];
                    difference.imaginary[v] = side[0].imaginary[v] - side[1].imaginary[v];
                }
            }
    }

    // The transfer functions of k2, and where they differ of -k2.
    void transform_columns(T factor, bool both) {
        for (long i = 0; i < task.inputs; i++)
            for (int v = 0; v < S; v++) {
                V ar = summed[i].real[v], ai = summed[i].imaginary[v], br{}, bi{};
                for (long d = 1; d <= across; d++) {
                    const T c = cosine_across[d], s = sine_across[d];
                    const Complex &sum = summed[d * task.inputs + i], &difference = differing[d * task.inputs + i];
                    ar += c * sum.real[v], ai += c * sum.imaginary[v];
                    br += s * difference.real[v], bi += s * difference.imaginary[v];
                }
                plus[i].real[v] = factor * (ar + bi), plus[i].imaginary[v] = factor * (ai - br);
                if (both) minus[i].real[v] = factor * (ar - bi), minus[i].imaginary[v] = factor * (ai + br);
            }
    }

    // And back: gradients of the transfer functions, `plus` and `minus`, to those of the sums and differences.
    void columns_backward(T factor, bool both) {
        for (long i = 0; i < task.inputs; i++)
            for (int v = 0; v < S; v++) {
                V ar = plus[i].real[v], ai = plus[i].imaginary[v], br = -ai, bi = ar;
                if (both) {
                    ar += minus[i].real[v], ai += minus[i].imaginary[v];
                    br += minus[i].imaginary[v], bi -= minus[i].real[v];
                }
                ar *= factor, ai *= factor, br *= factor, bi *= factor;
                summed[i].real[v] += ar, summed[i].imaginary[v] += ai;
                for (long d = 1; d <= across; d++) {
                    const T c = cosine_across[d], s = sine_across[d];
                    Complex &sum = summed[d * task.inputs + i], &difference = differing[d * task.inputs + i];
                    sum.real[v] += c * ar, sum.imaginary[v] += c * ai;
                    difference.real[v] += s * br, difference.imaginary[v] += s * bi;
                }
            }
    }

    void rows_backward() {
        for (long d = 0; d <= across; d++)
            for (long i = 0; i < task.inputs; i++)
                for (int s = 0; s < (d ? 2 : 1); s++)
                    for (int v = 0; v < S; v++) {
                        const Complex &sum = summed[d * task.inputs + i], &difference = differing[d * task.inputs + i];
                        const T sign = s ? -1 : 1;
                        const V real = d ? sum.real[v] + sign * difference.real[v] : sum.real[v];
                        const V imaginary = d ? sum.imaginary[v] + sign * difference.imaginary[v] : sum.imaginary[v];
                        for (long e = 0; e <= down; e++) {
                            const long tap = S * ((e * task.width + across + (s ? -d : d)) * task.inputs + i);
                            even[tap + v] += cosine_down[e] * real;
                            if (e) odd[tap + v] -= sine_down[e] * imaginary;
                        }
                    }
    }

    // Plane waves of the frequencies (k1, k2) and (k1, -k2): the coefficients' sums and differences.
    void waves(long k1, long k2) {
        const long size = task.batch * task.inputs;
        const T* all = static_cast<const T*>(task.coefficients);
        auto entry = [&](long row, long column) { return all + (row * task.columns + column) * size; };
        if (k1 && k2) {
            const T *cc = entry(2 * k1 - 1, 2 * k2 - 1), *cs = entry(2 * k1 - 1, 2 * k2);
            const T *sc = entry(2 * k1, 2 * k2 - 1), *ss = entry(2 * k1, 2 * k2);
            for (long i = 0; i < size; i++) {
                wave_cos[i] = cc[i] - ss[i], minus_cos[i] = cc[i] + ss[i];
                wave_sin[i] = sc[i] + cs[i], minus_sin[i] = sc[i] - cs[i];
            }
            return;
        }
        const T* c = k1 ? entry(2 * k1 - 1, 0) : entry(0, k2 ? 2 * k2 - 1 : 0);
        const T* s = k1 ? entry(2 * k1, 0) : k2 ? entry(0, 2 * k2) : nullptr;
        std::memcpy(wave_cos, c, size * sizeof(T));
        if (s) std::memcpy(wave_sin, s, size * sizeof(T));
        else std::fill(wave_sin, wave_sin + size, T{});
    }

    // The same of the upstream gradient, of these channels.
    void upstream_waves(long k1, long k2) {
        auto read = [&](long row, long column, long b, V* to) {
            load(task.upstream, (row * task.columns + column) * task.batch + b, to);
        };
        for (long b = 0; b < task.batch; b++) {
            Complex &p = out_plus[b], &m = out_minus[b];
            if (k1 && k2) {
                V cc[S], cs[S], sc[S], ss[S];
                read(2 * k1 - 1, 2 * k2 - 1, b, cc), read(2 * k1 - 1, 2 * k2, b, cs);
                read(2 * k1, 2 * k2 - 1, b, sc), read(2 * k1, 2 * k2, b, ss);
                for (int v = 0; v < S; v++) {
                    p.real[v] = cc[v] - ss[v], m.real[v] = cc[v] + ss[v];
                    p.imaginary[v] = sc[v] + cs[v], m.imaginary[v] = sc[v] - cs[v];
                }
                continue;
            }
            read(k1 ? 2 * k1 - 1 : 0, !k1 && k2 ? 2 * k2 - 1 : 0, b, p.real);
            if (k1 || k2) read(k1 ? 2 * k1 : 0, k1 ? 0 : 2 * k2, b, p.imaginary);
            else std::fill(p.imaginary, p.imaginary + S, V{});
        }
    }

    void write(long k1, long k2) {
        auto put = [&](long row, long column, long b, const V* x) {
            store(task.out, (row * task.columns + column) * task.batch + b, x);
        };
        for (long b = 0; b < task.batch; b++) {
            const Complex &p = out_plus[b], &m = out_minus[b];
            if (k1 && k2) {
                V cc[S], cs[S], sc[S], ss[S];
                for (int v = 0; v < S; v++) {
                    cc[v] = p.real[v] + m.real[v], ss[v] = m.real[v] - p.real[v];
                    sc[v] = p.imaginary[v] + m.imaginary[v], cs[v] = p.imaginary[v] - m.imaginary[v];
                }
                put(2 * k1 - 1, 2 * k2 - 1, b, cc), put(2 * k1 - 1, 2 * k2, b, cs);
                put(2 * k1, 2 * k2 - 1, b, sc), put(2 * k1, 2 * k2, b, ss);
                continue;
            }
            put(k1 ? 2 * k1 - 1 : 0, !k1 && k2 ? 2 * k2 - 1 : 0, b, p.real);
            if (k1 || k2) put(k1 ? 2 * k1 : 0, k1 ? 0 : 2 * k2, b, p.imaginary);
        }
    }

    // out[n] = sum over k of (a[n, k] + i s[n, k]) (P[k] - i Q[k]), as [a, s] [[P, -Q], [Q, P]].
    template <int N>
    static void multiply(long k_count, Matrix<T> a, Matrix<T> s, const Complex* factor, Complex* out) {
        Complex sum[N] = {};
        for (long k = 0; k < k_count; k++)
            for (int n = 0; n < N; n++) {
                const T x = a.at(n, k), y = s.at(n, k);
                for (int v = 0; v < S; v++) {
                    sum[n].real[v] += x * factor[k].real[v];
                    sum[n].real[v] += y * factor[k].imaginary[v];
                    sum[n].imaginary[v] += y * factor[k].real[v];
                    sum[n].imaginary[v] -= x * factor[k].imaginary[v];
                }
            }
        for (int n = 0; n < N; n++) out[n] = sum[n];
    }
    static void multiply_all(long n_count, long k_count, Matrix<T> a, Matrix<T> s, const Complex* factor, Complex* out) {
        long n = 0;
        for (; n + B <= n_count; n += B) multiply<B>(k_count, a.from(n), s.from(n), factor, out + n);
        for (; n < n_count; n++) multiply<1>(k_count, a.from(n), s.from(n), factor, out + n);
    }
    // Waves, (batch, inputs), times a transfer function.
    void transmit(const T* a, const T* s, const Complex* transfer, Complex* out) const {
        const Matrix<T> cosines{a, task.inputs, 1}, sines{s, task.inputs, 1};
        multiply_all(task.batch, task.inputs, cosines, sines, transfer, out);
    }
    // The gradient of a transfer function.
    void correlate(const T* a, const T* s, const Complex* upstream, Complex* out) const {
        const Matrix<T> cosines{a, 1, task.inputs}, sines{s, 1, task.inputs};
        multiply_all(task.inputs, task.batch, cosines, sines, upstream, out);
    }

    std::vector<T> cosine_down, sine_down, cosine_across, sine_across;

    void turn(long k, long half, std::vector<T>& cosines, std::vector<T>& sines) const {
        cosines.resize(half + 1), sines.resize(half + 1);
        for (long d = 0; d <= half; d++) {
            const double phase = 2 * std::acos(-1.0) * double(k * d % task.grid) / double(task.grid);
            cosines[d] = std::cos(phase), sines[d] = std::sin(phase);
        }
    }

    void run() {
        const bool backward = task.upstream;
        const long per_row = task.width * task.inputs;
        const auto row = [&](long e, long j) { return (down + e) * per_row + j; };
        if (backward) {
            std::fill(even, even + S * (down + 1) * per_row, V{});
            std::fill(odd, odd + S * (down + 1) * per_row, V{});
        } else
            for (long j = 0; j < per_row; j++) {
                load_tap(0, j, even + S * j);
                for (long e = 1; e <= down; e++) {
                    V after[S], before[S];
                    load_tap(e, j, after), load_tap(-e, j, before);
                    for (int v = 0; v < S; v++) {
                        even[S * (e * per_row + j) + v] = after[v] + before[v];
                        odd[S * (e * per_row + j) + v] = after[v] - before[v];
                    }
                }
            }
        for (long k1 = 0; k1 <= task.rows / 2; k1++) {
            turn(k1, down, cosine_down, sine_down);
            if (backward) {
                std::fill(summed, summed + (across + 1) * task.inputs, Complex{});
                std::fill(differing, differing + (across + 1) * task.inputs, Complex{});
            } else transform_rows();
            for (long k2 = 0; k2 <= task.columns / 2; k2++) {
                turn(k2, across, cosine_across, sine_across);
                const bool both = k1 && k2;
                const T factor = both ? 0.5 : 1;
                waves(k1, k2);
                if (backward) {
                    upstream_waves(k1, k2);
                    correlate(wave_cos, wave_sin, out_plus, plus);
                    if (both) correlate(minus_cos, minus_sin, out_minus, minus);
                    columns_backward(factor, both);
                } else {
                    transform_columns(factor, both);
                    transmit(wave_cos, wave_sin, plus, out_plus);
                    if (both) transmit(minus_cos, minus_sin, minus, out_minus);
                    write(k1, k2);
                }
            }
            if (backward) rows_backward();
        }
        if (!backward) return;
        for (long j = 0; j < per_row; j++) {
            store(task.taps_gradient, row(0, j), even + S * j);
            for (long e = 1; e <= down; e++) {
                V after[S], before[S];
                for (int v = 0; v < S; v++) {
                    after[v] = even[S * (e * per_row + j) + v] + odd[S * (e * per_row + j) + v];
                    before[v] = even[S * (e * per_row + j) + v] - odd[S * (e * per_row + j) + v];
                }
                store(task.taps_gradient, row(e, j), after), store(task.taps_gradient, row(-e, j), before);
            }
        }
    }
};

// Do pieces of work on so many threads; each makes what it needs. Says whether memory was missing.
template <class Maker>
bool in_parallel(long pieces, long threads, Maker maker) {
    std::atomic<long> next{0};
    std::atomic<bool> failed{false};
    auto work = [&] {
        try {
            auto doer = maker();
            for (long i; (i = next++) < pieces && !failed;) doer(i);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    };
    const long count = std::min(threads, pieces);
#if defined(_OPENMP)  // the threads of torch, which wait for work for a while and would else be in the way
#pragma omp parallel num_threads(count)
    work();
#else
    std::vector<std::thread> others;
    try {
        for (long i = 1; i < count; i++) others.emplace_back(work);
    } catch (const std::system_error&) {
    }  // those that started do it all
    work();
    for (auto& other : others) other.join();
#endif
    return failed;
}

template <class T>
bool rectify(const Task& task, bool backward) {
    const long lanes = Lanes<T>::COUNT;
    return in_parallel((task.columns + lanes - 1) / lanes, task.threads, [&] {
        return [&, block = std::make_shared<Block<T>>(task, backward)](long i) {
            block->at(i * lanes);
            backward ? block->backward() : block->forward();
        };
    });
}

template <class T>
bool pool_bands(const Pooling& pooling) {
    const long lanes = Lanes<T>::COUNT;
    return in_parallel((pooling.grid.columns + lanes - 1) / lanes, pooling.grid.threads, [&] {
        return [&, block = std::make_shared<Block<T>>(pooling.grid, true)](long i) {
            block->at(i * lanes);
            block->pool_bands(pooling);
        };
    });
}

template <class T>
bool convolve(const Convolution& task) {
    const long lanes = Lanes<T>::COUNT, pairs = (task.outputs + 2 * lanes - 1) / (2 * lanes);
    return in_parallel(pairs, task.threads, [&] {
        return [&](long i) {
            const long first = 2 * lanes * i;
            task.outputs - first > lanes ? Channels<T, 2>(task, first).run() : Channels<T, 1>(task, first).run();
        };
    });
}

// Each says whether memory was missing.
extern "C" {
int rectify_float32(const Task* task, int backward) { return rectify<float>(*task, backward); }
int rectify_float64(const Task* task, int backward) { return rectify<double>(*task, backward); }
int pool_bands_float32(const Pooling* pooling) { return pool_bands<float>(*pooling); }
int pool_bands_float64(const Pooling* pooling) { return pool_bands<double>(*pooling); }
int convolve_float32(const Convolution* task) { return convolve<float>(*task); }
int convolve_float64(const Convolution* task) { return convolve<double>(*task); }
}
