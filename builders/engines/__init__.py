"""Engines: ways to spread units over processes and machines. The lake is the only state; an engine keeps none.

An engine is a module with `start(lake, work, workers) -> Engine`. It is handed units whose needs are all in the lake, calls
`work(unit)` on each where and when it likes, and tells how each ended. A unit that is built twice or not at all is no harm:
a publish is exclusive, and the next build sees what is missing.
"""

import importlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

from builders.training.gradient import device
from builders.unit import Unit
from lake.errors import UsageError
from lake.store import Lake

NAMES = ("local", "ray", "slurm")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"}
"""Set before a worker starts: one thread a process, and matrix products of MKL that do not depend on memory alignment."""
GRACE = 60.0
"""Seconds after the deadline, or those of the longest unit if that is longer, for units on other machines to end."""

Work = Callable[[Unit], Any]
"""Builds and publishes a unit and returns the facts of what it added, or the LakeError that stopped it."""


@dataclass(frozen=True)
class Window:
    """When units may start: while they are expected to end by the deadline, and it is not too late for any."""

    rate: float = 0.0
    """Seconds of one worker that a row is expected to take."""
    deadline: float = math.inf
    """Of time.monotonic()."""
    latest: float = math.inf
    """Nothing starts after this, of time.monotonic()."""

    def seconds(self, unit: Unit) -> float:
        """Seconds that a worker is expected to spend on the unit."""
        return self.rate * unit.rows

    def may_start(self, unit: Unit) -> bool:
        """Whether the unit may start now."""
        now = time.monotonic()
        return now < self.latest and now + self.seconds(unit) <= self.deadline

    def is_over(self, started: Sequence[Unit]) -> bool:
        """Whether even the longest of `started` should have ended by now, had it begun in time."""
        return time.monotonic() > self.deadline + max([GRACE, *map(self.seconds, started)])


class Engine(Protocol):
    """Workers at hand; a context manager that leaves none behind, however it ends."""

    @property
    def workers(self) -> int:
        """Units that are built at once."""
        ...

    def __enter__(self) -> "Engine": ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def run(self, units: Sequence[Unit], window: Window, here: bool = False, gpu: bool = False) -> Iterator[tuple[Unit, Any]]:
        """Yield (unit, what the work returned, or a LakeError) as units end; those that may not start are left out.

        `here`: so little work that this process does it. `gpu`: each unit gets a GPU of its own where there are any.
        """
        ...


def start(name: str, lake: Lake, work: Work, workers: int) -> Engine:
    """The engine of that name, ready for units; LakeError in one line when it cannot be reached.

    `workers`: units at once; 0 leaves it to a cluster.
    """
    if name not in NAMES:
        raise UsageError(f"no engine {name!r}: choose one of {', '.join(NAMES)}")
    os.environ.update(ENVIRONMENT)
    return cast(Engine, importlib.import_module(f"builders.engines.{name}").start(lake, work, workers))


def may_use_gpu() -> bool:
    """Whether the environment variable DEVICE leaves GPUs to us; UsageError when it is no device."""
    return device.asked() != "cpu"


def address(lake: Lake) -> str:
    """The lake's folder or address, as another process or machine finds it."""
    return str(lake.root.absolute() if isinstance(lake.root, Path) else lake.root)
