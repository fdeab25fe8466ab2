"""The local engine: a process a core, or a GPU, each building one unit at a time; with one worker, this process.

Workers share nothing but the lake. The parent hands out a unit when a worker is free, so it always knows which unit died
with a worker: that one is reported, a new worker takes over, and the rest goes on. No queue and no lock outlives the run.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

from builders.engines import ENVIRONMENT, Window, Work
from builders.regression import device
from builders.unit import Unit
from lake.errors import LakeError
from lake.store import Lake


class NoMemoryError(LakeError):
    """A unit found no memory; the process that tried to build it is not to be trusted with another."""


def start(lake: Lake, work: Work, workers: int) -> "Pool":
    """Workers on this machine, at least one."""
    return Pool(work, max(1, workers))


class Pool:
    """Workers that outlive one table, so that a build starts each of them once; a context manager that leaves none behind."""

    def __init__(self, work: Work, workers: int) -> None:
        os.environ.update(ENVIRONMENT)
        self.work, self.workers = work, workers
        self.cards = cards() if workers > 1 else []
        self.started: list[_Worker] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.started:
            worker.process.kill()
        for worker in self.started:
            worker.process.join()

    def run(self, units: Sequence[Unit], window: Window, here: bool = False, gpu: bool = False) -> Iterator[tuple[Unit, Any]]:
        """Yield (unit, outcome) as units end, as every engine does; one worker is this process.

        Only exceptions of the work are caught: an interrupt goes up.
        """
        if here or self.workers <= 1:
            yield from run_here(self.work, units, window)
        else:
            at_once = min(self.workers, len(self.cards) if gpu and self.cards else self.workers)
            yield from self._run_processes(list(units), window, at_once)

    def _run_processes(self, units: list[Unit], window: Window, at_once: int) -> Iterator[tuple[Unit, Any]]:
        while True:
            while units and self._busy() < at_once:
                unit = units.pop(0)
                if window.may_start(unit):
                    self._idle().hand(unit)
            if not self._busy():
                return
            for ready in wait([w.pipe for w in self.started if w.unit is not None]):
                worker = next(w for w in self.started if w.pipe is ready)
                unit, outcome, worker.unit = worker.unit, worker.result(), None
                if isinstance(outcome, NoMemoryError):
                    worker.process.kill()  # what it holds, or may hold at most, is as the failed unit left it
                    worker.process.join()
                if not worker.process.is_alive():
                    self.started.remove(worker)
                yield cast(Unit, unit), outcome

    def _busy(self) -> int:
        return sum(w.unit is not None for w in self.started)

    def _idle(self) -> "_Worker":
        """A worker with nothing to do, on the GPU that the fewest busy workers are on."""
        self.started = [w for w in self.started if w.unit is not None or w.process.is_alive()]
        busy = [w.card for w in self.started if w.unit is not None]
        card = min(self.cards, key=busy.count, default="")
        idle = next((w for w in self.started if w.unit is None and w.card == card), None)
        if idle is None:
            self.started.append(idle := _Worker(self.work, card))
        return idle


def cards() -> list[str]:
    """CUDA_VISIBLE_DEVICES of a worker for each GPU that may be used; empty for the variable as it is."""
    if (chosen := device.name()) == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if ":" in chosen:  # it counts among those that are visible now
        return [""]
    from builders.training.gradient.device import cards as count

    return visible.split(",") if visible else [str(i) for i in range(count())]


def run_here(work: Work, units: Sequence[Unit], window: Window) -> Iterator[tuple[Unit, Any]]:
    """Build in this process, one unit after another."""
    yield from ((unit, attempt(work, unit)) for unit in units if window.may_start(unit))


def attempt(work: Work, unit: Unit) -> Any:
    """The result of `work(unit)`, or a LakeError: the one it raised, or one line on what else it raised and where."""
    try:
        return work(unit)
    except LakeError as error:
        return error
    except Exception as error:  # text only: what libraries and users raise need not survive the way to the parent
        at = traceback.extract_tb(error.__traceback__)[-1]
        kind = NoMemoryError if isinstance(error, MemoryError) else LakeError
        return kind(f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(at.filename).name}:{at.lineno})")


class _Worker:
    """A process that builds what it is handed; `unit` is what it is busy with, `card` the GPU that it sees."""

    def __init__(self, work: Work, card: str) -> None:
        self.card = card
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, card), daemon=True)
        # the parent decides about interrupts: a blocked Ctrl-C stays blocked in the worker from its first instruction on;
        # the tracker of multiprocessing unblocks it when it starts, so it has to be there before
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.unit: Unit | None = None

    def hand(self, unit: Unit) -> None:
        """Give the worker its next unit; `result` tells when it died before it could take it."""
        self.unit = unit
        with suppress(BrokenPipeError):
            self.pipe.send(unit)

    def result(self) -> Any:
        """What the worker sent, or an error that names how it died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            return LakeError(
                f"its worker died ({_cause(self.process.exitcode)}); nothing half-written is in the lake: run the command again"
            )


def _serve(pipe: Connection, work: Work, card: str) -> None:
    """Body of a worker: build what comes through the pipe until the parent is gone."""
    if card:
        os.environ["CUDA_VISIBLE_DEVICES"] = card  # read when CUDA is first used
    while True:
        try:
            pipe.send(attempt(work, pipe.recv()))
        except (EOFError, OSError):
            return


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"{name}{': often the system is out of memory, try fewer workers' if name == 'SIGKILL' else ''}"
    return f"exit code {exitcode}"
