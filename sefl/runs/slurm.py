"""The run of a SLURM job, which goes on with it when it is queued again after a time limit, preemption or failure."""

import os
from collections.abc import Sequence

from sefl.files.writing import write_atomically
from sefl.runs.folder import RunFolder

FILE = "slurm.txt"
"""In a run's folder: the job that began it, and its command."""


def job_id() -> str:
    """The job that this process is part of; empty outside of SLURM. Every element of an array has its own."""
    return os.environ.get("SLURM_JOB_ID", "")


def queued_by_another() -> bool:
    """Whether submitit handed the job in, as a sweep does: it also queues it again."""
    return "SUBMITIT_EXECUTOR" in os.environ


def record_job(folder: RunFolder, command: str) -> None:
    """Store which job began a run, and by which of its commands; nothing outside of SLURM."""
    if job_id():
        write_atomically(folder.path / FILE, lambda file: file.write(f"{job_id()} {command}\n".encode()))


def run_of_job(folders: Sequence[RunFolder], command: str) -> RunFolder | None:
    """The newest run that this command began in this job before it was queued again; ``None`` in its first start."""
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    begun = (folder for folder in reversed(folders) if (folder.path / FILE).is_file())
    return next((one for one in begun if (one.path / FILE).read_text() == f"{job_id()} {command}\n"), None)
