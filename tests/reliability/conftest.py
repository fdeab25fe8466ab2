"""The reliability suite: what every test here counts, the time limit that turns a hang into a failure, and the closing line.

The line and `build/reliability.json` say how much was tried, so that a suite that tests nothing cannot look green: kills,
acknowledged, lost; faults injected, survived, named; bad inputs tried, refused, accepted wrongly; bytes hashed; hangs.
"""

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import audit

from lake.store import Lake

WORK = ("kills", "acknowledged", "faults_injected", "survived", "named", "bad_tried", "refused", "bytes_hashed")
WRONG = ("lost", "unnamed", "accepted_wrongly", "hangs")
RECORD = Path(__file__).parents[2] / "build" / "reliability.json"
SECONDS, SECONDS_SLOW = 120, 1_800
"""After so long a test counts as hanging."""

_totals: Counter[str] = Counter()
_skipped: list[str] = []


@pytest.fixture
def tally() -> Callable[..., None]:
    """Adds to the totals: `tally(kills=1, lost=0)`; a misspelt name is refused."""

    def add(**counts: int) -> None:
        if unknown := counts.keys() - {*WORK, *WRONG}:
            raise KeyError(f"nothing counts {unknown}")
        _totals.update(counts)

    return add


@pytest.fixture
def audited(tally) -> Callable[[Lake], list]:
    """The deep check of a lake; its bytes are counted."""
    return lambda lake: audit(lake, lambda size: tally(bytes_hashed=size))


@pytest.fixture(autouse=True)
def _nothing_hangs(request: pytest.FixtureRequest) -> Iterator[None]:
    def hangs(number: int, frame: object) -> None:
        _totals["hangs"] += 1
        raise TimeoutError("this test hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS_SLOW if request.node.get_closest_marker("slow") else SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped, and why."""
    if report.skipped and "tests/reliability/" in report.nodeid:
        _skipped.append(f"{report.nodeid}: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print and keep the closing line."""
    if not _totals:
        return
    counts = {name: _totals[name] for name in (*WORK, *WRONG)} | {"skipped": len(_skipped)}
    terminalreporter.write_line("nothing lost: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps({**counts, "skipped_because": _skipped}, indent=1) + "\n")
