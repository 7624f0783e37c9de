"""SIGTERM and Ctrl-C end a run on all its processes, whichever of them received the signal.

A training ends at its next batch after SIGTERM, at once after Ctrl-C; whatever comes before it ends at once.
Checkpoints stay as they are. The exit status is 143 or 130, and one line says how to go on.

The signal that SLURM sends before it takes the computers away (``sbatch --signal=SIGUSR1@90``) ends a training at its
next batch too, there with a checkpoint, and puts the job into the queue again.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from sefl.runs.folder import RunFolder
from sefl.runs.slurm import job_id, queued_by_another
from sefl.training.processes import SIGNALLED, FirstProcess, OtherProcess, Process, ended_together, join

ENDING = (signal.SIGTERM, signal.SIGINT)


class EndAtSignal(Callback):
    """Ends a training or a test between two batches, after a signal.

    It takes the place of Lightning's handler, which calls a collective from wherever the process is. The collective
    that Lightning calls before each training batch is kept: with it all processes leave at the same batch.

    The same for SLURM's signal that the time is over. Lightning writes a checkpoint where the process happens to be, in
    the middle of a step; here ``last.ckpt`` is written between two batches, and the run goes on there bit for bit.
    """

    def __init__(self, processes: Process) -> None:
        self.processes = processes
        self._training = False
        self._out_of_time: int | None = None
        self._saved = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._training = stage == "fit"
        connector = trainer._signal_connector
        connector._sigterm_notifier_fn = lambda *_: None  # type: ignore[method-assign]  # ours is called behind it
        connector._slurm_sigusr_handler_fn = self._time_is_over  # type: ignore[method-assign, assignment]
        loop = trainer.fit_loop.epoch_loop
        agree, advance = type(loop)._broadcast_sigterm_tensor, type(loop).advance

        def agree_on_signal() -> None:
            connector.received_sigterm = self._out_of_time is not None or self.processes.signal is not None
            try:
                agree(loop)
            except SIGTERMException:
                self._save(trainer)
                raise

        def advance_unless_out_of_time(fetcher: Any) -> None:
            if self._out_of_time is not None and trainer.world_size == 1:
                self._save(trainer)
                raise SIGTERMException
            advance(loop, fetcher)

        loop._broadcast_sigterm_tensor = agree_on_signal  # type: ignore[method-assign]
        loop.advance = advance_unless_out_of_time  # type: ignore[method-assign, assignment]

    def _time_is_over(self, number: int, frame: FrameType | None) -> None:
        if self._training:
            self._out_of_time = number
        else:
            self.processes.received(number)

    def _save(self, trainer: Trainer) -> None:
        """Write ``last.ckpt``, if it is for want of time that all processes are here."""
        number = trainer.strategy.broadcast(self._out_of_time)
        if number is None:
            return
        if (
            trainer.fit_loop.epoch_loop.batch_progress.current.ready
        ):  # else it was written at the end of the last epoch
            trainer.save_checkpoint(RunFolder(Path(trainer.default_root_dir)).checkpoint("last"))
        self.processes.signal, self._saved = number, True

    @contextmanager
    def queued_again(self) -> Iterator[None]:
        """Put the job of a training that ends for want of time into SLURM's queue again, once all files are closed."""
        try:
            yield
        except SIGTERMException:
            if self._saved and isinstance(self.processes, FirstProcess) and not queued_by_another():
                # by a shell: where there is no scontrol, as in some containers, it says so
                subprocess.run(f"scontrol requeue {job_id()}", shell=True, check=False)
            raise

    def on_sanity_check_start(self, *args: Any, **options: Any) -> None:
        self.processes.training_begins()

    on_train_start = on_test_start = on_sanity_check_start

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.world_size == 1:
            self.on_validation_batch_end(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **options: Any) -> None:
        if isinstance(self.processes, FirstProcess) and self.processes.signal is not None:
            trainer._signal_connector.received_sigterm = True

    on_test_batch_end = on_validation_batch_end

    def on_exception(self, *args: Any, **options: Any) -> None:
        self.processes.training = False

    teardown = on_exception


@contextmanager
def process_of_a_run() -> Iterator[Process]:
    """Be one of the processes of a run, or the only one: they end together, with one message."""
    processes = join()
    with handled(processes), ended_together(processes):
        yield processes


@contextmanager
def handled(processes: Process) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    active = True

    def handle(number: int, frame: FrameType | None) -> None:
        processes.received(number)
        if isinstance(processes, OtherProcess) or processes.ending:
            return  # it ends with the first process, or ends already
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not processes.training:
            sys.exit(SIGNALLED + number)

    def leave_alone() -> None:
        """In a forked process, as a loader's workers are: a signal to it is none to the run."""
        if active:
            signal.set_wakeup_fd(-1)
            for number in before:
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, default)

    def notice() -> None:
        """Hear of signals while the first thread is in a collective, where Python calls no handler."""
        with suppress(OSError):
            while received := theirs.recv(1):
                if received[0] in ENDING:
                    processes.received(received[0])

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    threading.Thread(target=notice, daemon=True).start()
    heard = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    os.register_at_fork(after_in_child=leave_alone)
    woken = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        active = False
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            # Ctrl-C reaches every process; one that heard of it from another ends already.
            signal.signal(number, handler if processes.signal is None else signal.SIG_IGN)
        ours.close()
        theirs.close()
