"""Progress for people: a bar a table and rates with an ETA in a terminal, plain lines elsewhere. Everything on stderr."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from builders.unit import Unit

PLAIN_SECONDS = 10
"""Without a terminal, a line at most so often and at the end of each table."""


class Progress:
    """Shows how far each table is; a context manager, so that a terminal is left clean."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:<22}"),
        )
        self.bars = Bars(*columns, TimeRemainingColumn(), console=self.console, disable=quiet or not self.console.is_terminal)
        self.tasks: dict[str, Any] = {}
        self.unpushed: int | None = None
        """Partitions that are nowhere but here, where that is worth saying (builders/hosted.py); counted on from there."""

    def __enter__(self) -> "Progress":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bars.stop()

    def begin(self, name: str, n_units: int, n_rows: int, unit_name: str) -> None:
        """Start the bar of a builder; nothing is shown for one with nothing to do."""
        if n_units:
            now = time.monotonic()
            task = self.bars.add_task(name, total=n_rows, rate="")
            self.tasks[name] = {"task": task, "start": now, "said": now, "rows": 0, "total": n_rows, "unit": unit_name}

    def advance(self, name: str, unit: Unit, outcome: Any) -> None:
        """Count a finished unit; a failed one is named at once."""
        state, now = self.tasks[name], time.monotonic()
        if isinstance(outcome, Exception):
            self.say(f"failed: {unit.label}: {outcome}")
        elif self.unpushed is not None:
            self.unpushed += len(outcome)
        state["rows"] += unit.rows
        rate = state["rows"] / max(now - state["start"], 1e-9)
        only_here = "" if self.unpushed is None else f", {self.unpushed:,} partition(s) only here"
        self.bars.update(state["task"], completed=state["rows"], rate=f"{rate:,.0f} {state['unit']}/s{only_here}")
        if not self.console.is_terminal and (now - state["said"] >= PLAIN_SECONDS or state["rows"] >= state["total"]):
            state["said"] = now
            left = (state["total"] - state["rows"]) / rate
            done = f"{state['rows']:,} of {state['total']:,} {state['unit']}"
            self.say(f"{name}: {done}, {rate:,.0f}/s, {left:,.0f} s left{only_here}")

    def say(self, line: str) -> None:
        """Print a line without disturbing the bars, whole however long it is."""
        self.console.print(line, markup=False, soft_wrap=True)
