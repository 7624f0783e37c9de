"""The processes of one run: one folder for all, one message of a mistake, and all end when one of them does.

Every process is connected to the first, rank 0, by a socket that carries lines of JSON. Collectives cannot do that:
there are none before the training, and they wait for a process that is gone. A socket's end tells of a death at once.

Processes that Lightning starts find the first one through their environment; those that torchrun, SLURM and their kind
start, through the store at MASTER_ADDR:MASTER_PORT, which the process group shares later.
"""

import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TextIO

from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning import Trainer
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher, subprocess_script
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.distributed import PrefixStore, Store, TCPStore

ADDRESS = "SEFL_FIRST_PROCESS"
"""Environment variable: where the first process listens, for those that Lightning starts."""

MEETING_SECONDS = 300.0
"""How long to wait for the first process to be there: computers of a cluster do not begin at once."""
TOGETHER_SECONDS = 2.0
"""How far apart the same mistake comes to light in several processes."""
LEAVING_SECONDS = 20.0
"""What the training gets to end after a signal; then the processes are ended."""
FAILED, SIGNALLED = 1, 128
"""The exit status after a death or a defect, and what a signal's number is added to."""

_THIS_COMPUTER = "127.0.0.1"
_POLL_SECONDS = 0.2


class Process(ABC):
    """One process of a run, which knows of the others.

    Attributes:
        rank: what it is called.
        training: whether the training has begun, which SIGTERM ends between two batches.
        ending: whether it is too late for a signal.
        signal: that ends the run, whichever process received it.
        clean_up: called in the end of a run that failed or was stopped, from any thread.
        going_on: what to say of a run that was stopped.
    """

    def __init__(self, rank: str) -> None:
        self.rank = rank
        self.training = self.ending = False
        self.signal: int | None = None
        self.clean_up: Callable[[], object] = lambda: None
        self.going_on: Callable[[], str] = lambda: ""
        self._stderr: _Stderr | None = None

    @abstractmethod
    def agree(self, choose: Callable[[], Path]) -> Path:
        """The folder that the first process chooses, in all."""

    def trainer_made(self, trainer: Trainer) -> None:  # noqa: B027 (of the others nothing is needed)
        """Prepare for processes that Lightning starts."""

    def training_begins(self) -> None:
        """From here on, what any process writes to the terminal appears at once."""
        self.training = True
        if self._stderr is not None:
            self._stderr.release()

    @abstractmethod
    def received(self, number: int) -> None:
        """This process received a signal that ends the run. Called in a thread, or by a signal handler."""

    @abstractmethod
    def finished(self) -> None:
        """This process comes to its end, and all is well."""

    @abstractmethod
    def failed(self, error: BaseException) -> None:
        """This process fails. Returns if it is to say so itself."""


class FirstProcess(Process):
    """Rank 0, or the only process."""

    def __init__(self) -> None:
        super().__init__("0")
        self._server: socket.socket | None = None
        self._token = secrets.token_hex()
        self._store: Store | None = None
        self._lock = threading.RLock()
        self._expected = 0
        self._others: dict[str, socket.socket] = {}
        self._children: list[subprocess.Popen[Any]] = []
        self._told: list[dict[str, Any]] = []
        self._reported: set[str] = set()

    def publish(self, environment: ClusterEnvironment) -> None:
        """Begin to wait for processes that this one does not start."""
        # Kept: the process group's store is the same server.
        self._store = _store(environment, here=True)
        self._store.set(ADDRESS, self._listen(environment.main_address))
        # Lightning's environment knows of no other node before the trainer does; there is one.
        self._expected = max(environment.world_size() - 1, 1)
        self._stderr = _Stderr(held=False)

    def agree(self, choose: Callable[[], Path]) -> Path:
        folder = choose().absolute()
        self._tell(folder=str(folder))
        return folder

    def trainer_made(self, trainer: Trainer) -> None:
        self._expected = max(self._expected, trainer.num_nodes - 1)
        if trainer.world_size == 1 or self._server is not None:
            return
        if trainer.num_nodes > 1:
            self.publish(LightningEnvironment())
            assert self._store is not None
            os.environ[ADDRESS] = self._store.get(ADDRESS).decode()
        else:
            os.environ[ADDRESS] = self._listen(_THIS_COMPUTER)
        # Lightning's observer kills this process too, without a word.
        subprocess_script._launch_process_observer = self._observe  # type: ignore[assignment]

    def received(self, number: int) -> None:
        with self._lock:
            if self.signal is not None or self.ending:
                return
            self.signal = number
        _later(LEAVING_SECONDS, self._stop_at_once)
        _later(0, lambda: self._tell(signal=number))

    def finished(self) -> None:
        self.ending = True
        self._tell(end=0)

    def failed(self, error: BaseException) -> None:
        status = _status(error)
        if self.signal is not None:
            self._stop()
            status = SIGNALLED + self.signal
        else:
            self._reported.add(_mistake(error, self._stderr))
            # those that come later would wait for this process until they give up
            deadline = time.monotonic() + LEAVING_SECONDS
            while len(self._others) < self._expected and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if self._others:
                time.sleep(TOGETHER_SECONDS)
            if not self._ends():
                threading.Event().wait()  # for another thread, which knows the cause and ends the process
            self.clean_up()
        self._tell(end=status)
        if self.signal is not None or isinstance(error, SIGTERMException):  # whatever status that one has
            sys.exit(status)

    def _stop(self) -> None:
        """Say what becomes of a run that was stopped."""
        if not self._ends():
            threading.Event().wait()
        self.clean_up()
        _say(f"Stopped by {_name(self.signal or 0)}. {self.going_on()}".rstrip())

    def _stop_at_once(self) -> None:
        assert self.signal is not None
        self._stop()
        self._tell(end=SIGNALLED + self.signal)
        _exit(SIGNALLED + self.signal)

    def _ends(self) -> bool:
        """Whether the caller ends the process; only the first one does."""
        with self._lock:
            first, self.ending = not self.ending, True
            return first

    def _listen(self, host: str) -> str:
        """Begin to listen; where, for the others."""
        if host == _THIS_COMPUTER:
            self._server = socket.create_server((host, 0))
        else:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            self._server = socket.create_server(("", 0), family=family, dualstack_ipv6=both)
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()
        return f"{host} {self._server.getsockname()[1]} {self._token}"

    def _accept(self, server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        """Hear another process to its end."""
        messages = _messages(connection)
        hello = next(messages, {})
        if not hmac.compare_digest(str(hello.get("token")), self._token):
            connection.close()
            return
        rank = str(hello["rank"])
        with self._lock:
            self._others[rank] = connection
            for message in self._told:
                _send(connection, message)
        for message in messages:
            if "signal" in message:
                self.received(message["signal"])
                signal.pthread_kill(threading.main_thread().ident or 0, message["signal"])
            elif "failed" in message:
                self._other_failed(rank, **message)
                return
            elif "finished" in message:
                return
        self._died(rank, f"process {hello['process']} on {hello['host']}")

    def _other_failed(self, rank: str, failed: int, mistake: str, text: str) -> None:
        time.sleep(TOGETHER_SECONDS / 2)  # this process, if it makes the same mistake, says it itself
        with self._lock:
            known = mistake in self._reported or self.signal is not None
            self._reported.add(mistake)
        if known:
            return
        _say(f"rank {rank}: {text or f'ended with status {failed}'}")
        if self._ends():
            self._end_at_once(failed)

    def _observe(self, children: list[subprocess.Popen[Any]]) -> None:
        """Find deaths of processes that Lightning started also before they are connected."""

        def watch() -> None:
            while not self.ending:
                for rank, child in enumerate(children, 1):
                    if child.poll() and str(rank) not in self._others:
                        self._died(str(rank), f"process {child.pid}")
                time.sleep(_POLL_SECONDS)

        self._children = children
        threading.Thread(target=watch, daemon=True).start()

    def _died(self, rank: str, which: str) -> None:
        if self.signal is not None or not self._ends():
            return
        how = "died: killed from outside, or for want of memory"
        if rank.isdecimal() and int(rank) <= len(self._children):
            child = self._children[int(rank) - 1]
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(TOGETHER_SECONDS)
                how = f"was killed by {_name(-code)}" if code < 0 else f"ended with status {code}"
        _say(f"rank {rank} ({which}) {how}. The run ends.")
        self._end_at_once(FAILED)

    def _end_at_once(self, status: int) -> NoReturn:
        """End the process while its first thread waits for what never comes."""
        self.clean_up()
        self._tell(end=status)
        _exit(status)

    def _tell(self, **message: Any) -> None:
        with self._lock:
            self._told.append(message)
            for connection in self._others.values():
                with suppress(OSError):
                    _send(connection, message)


class OtherProcess(Process):
    """Any but the first: asks that one, tells it, and ends with it.

    Args:
        rank: what it is called.
        address: where the first one listens.
    """

    def __init__(self, rank: str, address: str) -> None:
        super().__init__(rank)
        self._folder: Path | None = None
        self._told = threading.Event()
        host, port, token = address.split()
        self._first = socket.create_connection((host, int(port)), timeout=MEETING_SECONDS)
        self._first.settimeout(None)
        self._tell(token=token, rank=rank, process=os.getpid(), host=socket.gethostname())
        self._stderr: _Stderr = _Stderr(held=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def agree(self, choose: Callable[[], Path]) -> Path:
        self._told.wait()  # if the first one dies before, so does this one
        assert self._folder is not None
        return self._folder

    def received(self, number: int) -> None:
        self._tell(signal=number)

    def finished(self) -> None:
        self.ending = True
        self._stderr.release()
        self._tell(finished=True)

    def failed(self, error: BaseException) -> None:
        if self.signal is None and not isinstance(error, SIGTERMException):
            text = self._stderr.text.strip()
            if not isinstance(error, SystemExit):
                text = f"{text}\n{''.join(traceback.format_exception(error)).strip()}".strip()
            self._tell(failed=_status(error), mistake=_mistake(error, self._stderr), text=text)
        # The first one says it, and then ends this one.
        time.sleep(LEAVING_SECONDS)
        _exit(_status(error))

    def _tell(self, **message: Any) -> None:
        with suppress(OSError):
            _send(self._first, message)

    def _listen(self) -> None:
        for message in _messages(self._first):
            if "folder" in message:
                self._folder = Path(message["folder"])
                self._told.set()
            elif "signal" in message:
                self.signal = message["signal"]
                _later(2 * LEAVING_SECONDS, lambda: _exit(SIGNALLED + (self.signal or 0)))
            elif message["end"]:
                _exit(message["end"])
            else:
                self.ending = True
        if self.ending:
            return
        if self.signal is not None:
            _exit(SIGNALLED + self.signal)
        if self.rank == "1":
            self._stderr.drop()
            _say("rank 0 died: killed from outside, or for want of memory. The run ends.")
        _exit(FAILED)


def join() -> Process:
    """Find out which process of a run this one is, and connect it; exits if the first one does not come."""
    environment = _external()
    if environment is None:
        started_by_lightning = os.environ.get("LOCAL_RANK", "0") != "0" and ADDRESS in os.environ
        return OtherProcess(_rank(), os.environ[ADDRESS]) if started_by_lightning else FirstProcess()
    try:
        if environment.global_rank() == 0 and environment.node_rank() == 0:
            first = FirstProcess()
            first.publish(environment)
            return first
        os.environ[ADDRESS] = _store(environment, here=False).get(ADDRESS).decode()
        return OtherProcess(_rank(), os.environ[ADDRESS])
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        _say(
            f"rank {_rank()}: no meeting with the first process at {environment.main_address}, port "
            f"{environment.main_port}, within {MEETING_SECONDS:g} s ($MASTER_ADDR and $MASTER_PORT): {reason}"
        )
        sys.exit(FAILED)


@contextmanager
def ended_together(processes: Process) -> Iterator[None]:
    """What all processes of a run do: if it fails in one, it ends in all, with one message."""
    try:
        yield
    except SystemExit as end:
        if _status(end) == 0 and processes.signal is None:
            processes.finished()
        else:
            processes.failed(end)
        raise
    except BaseException as error:
        processes.failed(error)
        raise
    processes.finished()


class _Stderr:
    """Stands for ``sys.stderr``: remembers what is written, and holds it back if so told."""

    def __init__(self, held: bool) -> None:
        self.text = ""
        self._held = held
        self._shown: TextIO = sys.stderr
        sys.stderr = self

    def write(self, text: str) -> int:
        self.text += text
        return len(text) if self._held else self._shown.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)

    def release(self) -> None:
        """Let everything through from here on, and what was held back."""
        held = self.text if self._held else ""
        self.drop()
        self._shown.write(held)

    def drop(self) -> None:
        """Forget what was held back, and let everything through."""
        self.text, self._held = "", False
        if sys.stderr is self:
            sys.stderr = self._shown


def devices_of_launcher(devices: Any) -> dict[str, int]:
    """What ``devices="auto"`` of the Trainer comes to where torchrun or SLURM start the processes: all of them.

    Lightning takes what the computer has, and processes more than that train each by itself, into one folder.
    """
    environment = _external()
    of_node: dict[type, str] = {
        TorchElasticEnvironment: "LOCAL_WORLD_SIZE",
        SLURMEnvironment: "SLURM_NTASKS_PER_NODE",
    }
    per_node = int(os.environ.get(of_node.get(type(environment), ""), "0"))
    if environment is None or not per_node or devices != "auto":
        return {}
    return {"devices": per_node, "num_nodes": environment.world_size() // per_node}


def require_all_processes(trainer: Trainer) -> None:
    """Refuse a Trainer for fewer or more processes than were started, or whose processes this one could not reach.

    Raises:
        ValueError: if it is one.
    """
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ValueError(
            "--trainer.strategy: ddp_spawn, ddp_fork and ddp_notebook are for programs that are no command. Use ddp."
        )
    environment = _external()
    if environment is None or isinstance(environment, LightningEnvironment):
        return
    if trainer.world_size != environment.world_size():
        raise ValueError(
            f"--trainer.devices: {environment.world_size()} processes were started, and the trainer is for "
            f"{trainer.world_size}. Set devices to the processes of a node and num_nodes to the nodes, or leave both "
            "out."
        )


def _external() -> ClusterEnvironment | None:
    """What started several processes side by side, as Lightning finds it; or the first of a computer of several."""
    for kind in (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment):
        if kind.detect():
            environment: ClusterEnvironment = kind()
            return environment if environment.world_size() > 1 else None
    known = {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return LightningEnvironment() if known and "LOCAL_RANK" not in os.environ else None


def _rank() -> str:
    """What this process is called before Lightning has numbered all."""
    rank = int(rank_zero_only.rank)  # type: ignore[attr-defined]
    node = int(os.environ.get("NODE_RANK", "0"))
    return f"{rank} of node {node}" if node and "RANK" not in os.environ else str(rank)


def _store(environment: ClusterEnvironment, here: bool) -> Store:
    """The store that all processes of a run reach; torchrun hosts it itself."""
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        environment.main_address,
        environment.main_port,
        is_master=here and not hosted,
        timeout=timedelta(seconds=MEETING_SECONDS),
        wait_for_workers=False,
        multi_tenant=True,
    )
    return PrefixStore(f"sefl/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """What the other side says, to its end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    with suppress(OSError, ValueError), connection.makefile("rb") as lines:
        for line in lines:
            yield json.loads(line)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _status(error: BaseException) -> int:
    """The exit status that an exception ends a process with."""
    if isinstance(error, SIGTERMException):  # has none: all processes left at the same batch, for any signal
        return SIGNALLED + signal.SIGTERM
    if not isinstance(error, SystemExit):
        return FAILED
    return error.code if isinstance(error.code, int) else int(error.code is not None)


def _mistake(error: BaseException, stderr: _Stderr | None) -> str:
    """What tells one mistake from another: the last line of its message."""
    if not isinstance(error, SystemExit):
        return traceback.format_exception_only(error)[-1].strip()
    return (stderr.text.strip().splitlines() or [""])[-1] if stderr is not None else ""


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _later(seconds: float, do: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


def _say(text: str) -> None:
    """Write a message as one piece: other processes write too."""
    sys.stderr.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _exit(status: int) -> NoReturn:
    """End at once, whatever the first thread waits for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
