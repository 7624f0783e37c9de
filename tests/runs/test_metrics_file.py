"""metrics.csv: one row per step, read and widened row by row, in memory that does not grow with it."""

import tracemalloc
from pathlib import Path

import pytest

from sefl.files.reading import DamagedFile
from sefl.fit import main as fit
from sefl.runs.folder import RunFolder
from sefl.runs.loggers import MetricsCSV
from sefl.runs.metrics_file import iterate_rows
from sefl.runs.run import read_run

MANY = 30_000


def test_what_is_logged_at_one_step_is_one_row(tmp_path: Path) -> None:
    logger = MetricsCSV(RunFolder(tmp_path))
    logger.log_metrics({"lr": 0.1}, step=0)
    logger.log_metrics({"loss": 2.0, "epoch": 0}, step=0)
    logger.log_metrics({"loss": 3.0}, step=1)
    logger.log_metrics({"accuracy": 0.5, "epoch": 0}, step=1)
    logger.log_metrics({"loss": 30.0}, step=1)  # another value of the same is another row
    MetricsCSV(RunFolder(tmp_path)).log_metrics({"new": 1.0}, step=1)  # so is what another start logs
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,lr,loss,epoch,accuracy,new",
        "0,0.1,2.0,0.0,,",
        "1,,3.0,0.0,0.5,",
        "1,,30.0,,,",
        "1,,,,,1.0",
    ]


def test_a_row_that_grows_while_it_is_read_is_no_other_row(tmp_path: Path) -> None:
    logger = MetricsCSV(RunFolder(tmp_path))
    logger.log_metrics({"lr": 0.1, "loss": 1.0}, step=0)
    logger.log_metrics({"lr": 0.2}, step=1)
    rows = iterate_rows(tmp_path / "metrics.csv")
    begun = [next(rows)]
    logger.log_metrics({"loss": 2.34567}, step=1)
    assert [row["step"] for row in [*begun, *rows]] == ["0", "1"]
    assert list(iterate_rows(tmp_path / "metrics.csv"))[-1] == {"step": "1", "lr": "0.2", "loss": "2.34567"}


def test_an_epoch_is_one_row(tiny: Path) -> None:
    fit(["--config", str(tiny), "--trainer.log_every_n_steps", "5"])
    rows = list(iterate_rows(Path("runs/tiny/0/metrics.csv")))
    assert len({row["step"] for row in rows}) == len(rows)
    epochs = [row for row in rows if row["val/accuracy"]]
    assert [(row["step"], row["epoch"]) for row in epochs] == [("11", "0.0"), ("23", "1.0")]
    for row in epochs:
        for name in (
            "train/loss",
            "lr-AdamW",
            "equivariance/network.head/downsample/mean",
            "equivariance/downsample/mean",
        ):
            assert row[name], name


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    columns = ["step", "epoch", "val/accuracy", *(f"equivariance/{layer}" for layer in range(20))]
    values = ",".join(["1e-13"] * 20)
    with (tmp_path / "metrics.csv").open("w") as file:
        file.write(",".join(columns) + "\n")
        file.writelines(
            f"{step},{step // 1000},{0.5 if step % 1000 == 999 else ''},{values}\n" for step in range(MANY)
        )
    (tmp_path / "config.yaml").write_text("model: {}\n")

    tracemalloc.start()
    try:
        assert read_run(tmp_path).results.values == {"accuracy": 0.5}
        MetricsCSV(RunFolder(tmp_path)).log_metrics({"new": 1.0}, step=MANY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8e6  # the rows as dictionaries take 180 MB
    last = None
    for number, last in enumerate(iterate_rows(tmp_path / "metrics.csv")):
        assert last["step"] == str(number)
    assert last is not None
    assert last["new"] == "1.0"


@pytest.mark.parametrize(
    "content", [b"a,\xff\n1,2\n", b"\0" * 8 + b"\n", b'"a\n', b"a" * 200_000 + b"\n", b"x,y\n1,2\n", b"\n"]
)
def test_a_damaged_file_is_not_gone_on_with(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "metrics.csv"
    file.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"metrics.csv is damaged \(.*\); move it away to go on without it"):
        MetricsCSV(RunFolder(tmp_path))
    assert file.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"step,lo"])
def test_a_file_without_a_line_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    MetricsCSV(RunFolder(tmp_path)).log_metrics({"loss": 1.0}, step=0)
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n0,1.0\n"
