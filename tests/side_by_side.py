"""Processes of one run, forked from the tests': they have nothing to import."""

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.multiprocessing as mp
from pytorch_lightning.utilities import rank_zero_only

DEADLINE = 100.0


class SideBySide:
    """Two processes of a run, none of which has to import anything; or one ``alone``.

    ``torchrun`` or ``slurm`` began them on one computer, ``two_agents`` of torchrun or ``slurm_nodes`` on two, or we
    ourselves on each of two, ``by_hand``.
    """

    def __init__(self, how: str, command: Callable[[list[str]], None], *arguments: Sequence[str]) -> None:
        port = free_port()
        context = mp.get_context("fork")
        self.processes = []
        for rank, given in enumerate(arguments if len(arguments) == 2 or how == "alone" else arguments * 2):
            process = context.Process(target=begin, args=(environment(how, rank, port), rank, command, given))
            process.start()
            self.processes.append(process)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert any(process.is_alive() for process in self.processes), self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def signal(self, ranks: Sequence[int], number: int) -> None:
        for rank in ranks:
            os.kill(self.processes[rank].pid or 0, number)

    def end(self, seconds: float = DEADLINE) -> list[int | None]:
        """The exit statuses; ``None`` of a process that hangs."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0, deadline - time.monotonic()))
        return [process.exitcode for process in self.processes]

    @property
    def said(self) -> list[str]:
        return [Path(f"said.{rank}").read_text() for rank in range(len(self.processes))]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def begin(
    variables: dict[str, str], rank: int, command: Callable[[list[str]], None], given: list[str]
) -> None:
    os.environ.update(variables)
    rank_zero_only.rank = 0 if "NODE_RANK" in variables else rank
    torch.set_num_threads(1)
    said = os.open(f"said.{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(said, number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    command(given)


def environment(how: str, rank: int, port: int) -> dict[str, str]:
    """What a launcher tells a process."""
    if how == "alone":
        return {}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if how == "by_hand":
        return where | {"NODE_RANK": str(rank)}
    if how in ("torchrun", "two_agents"):
        node = {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
        if how == "two_agents":
            node = {"LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "GROUP_RANK": rank}
        ranks = node | {"RANK": rank, "WORLD_SIZE": 2}
        return where | {name: str(value) for name, value in ranks.items()} | {"TORCHELASTIC_RUN_ID": "test"}
    tasks = {"NTASKS": 2, "NTASKS_PER_NODE": 2, "NNODES": 1, "PROCID": rank, "LOCALID": rank, "NODEID": 0}
    if how == "slurm_nodes":
        tasks |= {"NTASKS_PER_NODE": 1, "NNODES": 2, "LOCALID": 0, "NODEID": rank}
    return where | {f"SLURM_{name}": str(value) for name, value in tasks.items()} | {"SLURM_JOB_ID": "7"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
