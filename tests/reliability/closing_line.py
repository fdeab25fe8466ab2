"""The closing line of a test run: how much was tried, and that nothing was lost. A pytest plugin, loaded by tests/conftest.py.

Every test counts what it does through the fixture `tally`. The run ends with one line: kills, acknowledged, lost; faults
injected, survived, named; bad inputs tried, refused, accepted wrongly; bytes hashed; hangs; and what was skipped, and why.
It fails when anything was lost, accepted wrongly, unnamed or hung, whatever the tests themselves say. With
`--closing-line FILE`, as `make test-long` has it, the line is kept as JSON and has to reach the floors in `LEAST`, so that a
suite that tests nothing cannot look green.
"""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WORK = ("kills", "acknowledged", "faults_injected", "survived", "named", "bad_tried", "refused", "bytes_hashed")
WRONG = ("lost", "unnamed", "accepted_wrongly", "hangs")
LEAST = {"kills": 1_300, "acknowledged": 50_000, "faults_injected": 800, "bad_tried": 20_000, "bytes_hashed": 10**9}
"""What a whole run of all tests does at least."""

SECONDS, SECONDS_SLOW = 180, 14_400
"""After so long a test counts as hanging, unless its mark `limit` says otherwise."""

LONGEST = (
    "test_very_many_random_operations",
    "test_every_string_in_every_parameter_is_a_value",
    "test_many_disturbed_builds_end_in_the_undisturbed_lake",
    "test_writers_and_readers_for_ten_minutes",
    "test_a_thousand_kills_lose_nothing",
    "test_5000_models_in_one_go",
)
"""Tests of many minutes: begun first, else the last of them runs alone beside idle cores."""

_totals: Counter[str] = Counter()
_skipped: list[str] = []


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Adds to the totals: `tally(kills=1, lost=0)`; a misspelt name is refused."""

    def add(**counts: int) -> None:
        if unknown := counts.keys() - {*WORK, *WRONG}:
            raise KeyError(f"nothing counts {unknown}")
        _note(request.node, **counts)

    return add


def _note(item: pytest.Item, **counts: int) -> None:
    item.user_properties.append(("tally", {name: int(count) for name, count in counts.items()}))


@pytest.fixture(autouse=True)
def _nothing_hangs(request: pytest.FixtureRequest) -> Iterator[None]:
    def hangs(number: int, frame: object) -> None:
        _note(request.node, hangs=1)
        raise TimeoutError("this test hangs")

    mark = request.node.get_closest_marker("limit")
    usual = SECONDS_SLOW if request.node.get_closest_marker("slow") else SECONDS
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(mark.args[0] if mark else usual)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--closing-line FILE`."""
    parser.addoption("--closing-line", metavar="FILE", help="keep the closing line as JSON, and hold it to its floors")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: LONGEST.index(item.name) if item.name in LONGEST else len(LONGEST))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add what a test counted, wherever it ran; remember what was skipped, and why."""
    if report.when == "teardown":
        for name, counts in report.user_properties:
            if name == "tally":
                _totals.update(counts)
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped.append(f"{report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which something went wrong by the line fails; keep the line."""
    if hasattr(session.config, "workerinput") or not _totals:
        return
    if _shortcomings(session.config) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if kept := session.config.getoption("--closing-line"):
        Path(kept).parent.mkdir(parents=True, exist_ok=True)
        Path(kept).write_text(json.dumps({**_line(), "skipped_because": _skipped}, indent=1) + "\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the line."""
    if _totals:
        terminalreporter.write_line("nothing lost: " + ", ".join(f"{n.replace('_', ' ')} {c:,}" for n, c in _line().items()))
        for wrong in _shortcomings(config):
            terminalreporter.write_line(f"failed: {wrong}")


def _line() -> dict[str, int]:
    return {name: _totals[name] for name in (*WORK, *WRONG)} | {"skipped": len(_skipped)}


def _shortcomings(config: pytest.Config) -> list[str]:
    """What the line must not say."""
    wrong = [f"{name.replace('_', ' ')} {_totals[name]}" for name in WRONG if _totals[name]]
    least = LEAST if config.getoption("--closing-line") else {}
    return wrong + [f"{n.replace('_', ' ')} {_totals[n]:,}, at least {c:,} are due" for n, c in least.items() if _totals[n] < c]
