"""A sweep as an array of SLURM's, of which shell scripts do as much as submitit and a training ask for."""

import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
import torch

from sefl.sweep.__main__ import main

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0
PROGRAMS = {
    # every element of an array begins at once
    "sbatch": """
        cp "$1" handed_in.sh
        for task in $(seq 0 $(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")); do
            export SLURM_ARRAY_JOB_ID=42 SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=$((43 + task))
            bash "$1" > /dev/null 2>&1 &
        done
        echo "Submitted batch job 42"
    """,
    "srun": """
        [[ "$1 $2 $4" == "--unbuffered --output --error" ]] || exit 1
        output=${3/\\%A_\\%a_\\%t/42_${SLURM_ARRAY_TASK_ID}_0} error=${5/\\%A_\\%a_\\%t/42_${SLURM_ARRAY_TASK_ID}_0}
        export SLURM_NTASKS=1 SLURM_NTASKS_PER_NODE=1 SLURM_NNODES=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0
        echo $$ > worker.$SLURM_ARRAY_TASK_ID
        exec "${@:6}" >> "$output" 2>> "$error"
    """,
    "scontrol": """
        echo "$@" >> scontrol.txt
        (sleep 1; SLURM_RESTART_COUNT=1 exec bash handed_in.sh) > /dev/null 2>&1 &
    """,
    "sacct": "echo 'JobID|State|NodeList'",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}")
        (programs / name).chmod(0o755)
    for name, value in {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_an_array_of_which_one_job_runs_out_of_time(
    tiny: Path, capfd: pytest.CaptureFixture[str], slurm: None
) -> None:
    """It is queued again, and goes on in its run."""

    def run_out_of_time() -> None:
        deadline = time.monotonic() + DEADLINE
        while not list(Path("runs/tiny/1/checkpoints").glob("last.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(int(Path("worker.1").read_text()), signal.SIGUSR2)

    Thread(target=run_out_of_time).start()
    options = ["timeout_min=240", "slurm_partition=gpu", "gpus_per_node=1", "slurm_setup=[module load x]"]
    command = [
        "--configs",
        str(tiny),
        "--seeds",
        "0",
        "1",
        "--cluster",
        "slurm",
        "--jobs",
        "2",
        "--submitit",
        *options,
    ]
    with pytest.raises(SystemExit) as end:
        main([*command, "--", "--trainer.max_epochs", "10"])
    output = "".join(capfd.readouterr())
    assert end.value.code == 0, output
    handed_in = Path("handed_in.sh").read_text().splitlines()
    asked = {
        "array=0-1%2",
        "time=240",
        "partition=gpu",
        "gpus-per-node=1",
        "ntasks-per-node=1",
        "signal=USR2@90",
    }
    assert {f"#SBATCH --{option}" for option in asked} <= set(handed_in)
    assert "module load x" in handed_in
    assert Path("scontrol.txt").read_text() == "requeue 42_1\n"
    words = " ".join(output.split())
    assert "tiny.yaml seed 0: finished" in words
    assert "tiny.yaml seed 1: finished" in words
    assert sorted(path.name for path in Path("runs/tiny").iterdir()) == ["0", "1"]
    logs = [Path(f"runs/sweeps/0/tiny_seed={seed}.log").read_text() for seed in (0, 1)]
    assert [log.count("Stopped by SIGUSR1") for log in logs] == [0, 1]
    assert "Resuming from" in logs[1]
    steps = [torch.load(f"runs/tiny/{seed}/checkpoints/last.ckpt")["global_step"] for seed in (0, 1)]
    assert steps == [120, 120]


def test_sbatch_refuses(tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], slurm: None) -> None:
    refusal = "sbatch: error: invalid partition specified: x"
    (tmp_path / "bin/sbatch").write_text(f"#!/bin/sh\necho '{refusal}' >&2\nexit 1\n")
    with pytest.raises(SystemExit) as end:
        main(
            ["--configs", str(tiny), "--cluster", "slurm", "--submitit", "timeout_min=1", "slurm_partition=x"]
        )
    assert end.value.code == 2
    assert capfd.readouterr().err.splitlines()[-1] == f"python -m sefl.sweep: error: --submitit: {refusal}"
    assert not list(Path("runs/tiny").iterdir())
