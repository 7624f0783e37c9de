// The passes of sefl/fourier/shellwise.py over the bands of images, for ReLU on a CPU; native.py compiles
// this file where there is a compiler. A vector here holds one coefficient, or one grid point, of as many columns (batch
// x channels) as a register of the processor does; all bands of these columns are done at once, in cache.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
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

// A matrix of numbers, entry (i, j) at i * rows + j * columns.
template <class T>
struct Matrix {
    const T* entry;
    long rows, columns;
    Matrix transposed() const { return {entry, columns, rows}; }
    Matrix from(long i) const { return {entry + i * rows, rows, columns}; }
    T at(long i, long j) const { return entry[i * rows + j * columns]; }
};

// c[m, q] (+)= sum over k of a[m, k] b[k, q], where b and c hold vectors: strides (bk, bq) and (cm, cq).
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

// Some columns: their coefficients, grids and shells, and what is done to them.
template <class T>
class Block {
    typedef typename Lanes<T>::V V;
    static constexpr long LANES = Lanes<T>::COUNT;

    const Task& task;
    std::unique_ptr<char[]> memory;
    char* next;
    V *source, *result, *values, *half, *other, *total, *upstream, *finer;
    V *rows, *sides, *read_rows, *read_sides;  // 2 x points each
    V *given_rows, *given_sides;
    long first_column, held;

    V* take(long count) {
        V* taken = reinterpret_cast<V*>(next);
        next += count * sizeof(V);
        return taken;
    }

   public:
    Block(const Task& task, bool backward) : task(task) {
        long points = 0;
        for (long r = 0; r < task.runs; r++) points = std::max<long>(points, task.run[r].points);
        const long fine = points * task.window, largest = std::max({fine, task.inputs, task.outputs});
        const long square = largest * largest;
        memory.reset(new char[(8 * square + 12 * largest + 1) * sizeof(V)]);
        const uintptr_t start = reinterpret_cast<uintptr_t>(memory.get());
        next = memory.get() + (REGISTER - start % REGISTER) % REGISTER;
        source = take(square), result = take(square), values = take(square), half = take(square);
        other = take(square), total = take(square), upstream = take(square), finer = take(square);
        rows = take(2 * largest), sides = take(2 * largest), read_rows = take(2 * largest);
        read_sides = take(2 * largest), given_rows = take(2 * largest), given_sides = take(2 * largest);
        if (!backward) upstream = finer = total = nullptr;
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

template <class T>
bool run_all(const Task& task, bool backward) try {
    const long lanes = Lanes<T>::COUNT, blocks = (task.columns + lanes - 1) / lanes;
    const long count = std::max<long>(1, std::min<long>(task.threads, blocks));
    std::vector<Block<T>> each;  // all memory before any thread starts
    for (long i = 0; i < count; i++) each.emplace_back(task, backward);
    std::atomic<long> next{0};
    auto work = [&](Block<T>& block) {
        for (long i; (i = next++) < blocks;) {
            block.at(i * lanes);
            backward ? block.backward() : block.forward();
        }
    };
    std::vector<std::thread> others;
    try {
        for (long i = 1; i < count; i++) others.emplace_back(work, std::ref(each[i]));
    } catch (const std::system_error&) {
    }  // those that started do it all
    work(each[0]);
    for (auto& other : others) other.join();
    return false;
} catch (const std::bad_alloc&) {
    return true;
}

// Whether memory was missing.
extern "C" {
int shellwise_float32(const Task* task, int backward) { return run_all<float>(*task, backward); }
int shellwise_float64(const Task* task, int backward) { return run_all<double>(*task, backward); }
}
