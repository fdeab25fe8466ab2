"""Fixtures of the builders' tests: a study of a second, the lake that it fills, and the command lines in this process."""

import importlib
import itertools
import json
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from builders import loop, study
from builders.progress import Progress
from builders.study import Study
from lake.cli import run
from lake.store import Lake
from lake.tables import TABLES

SMALL = {
    "name": "small",
    "dataset": {"source": "digits", "n_train": 60, "n_test": 20},
    "algorithm": {"name": "patchnet", "widths": [4], "epochs": 2, "batch": 10},
    **{"models": 48, "pool": 4, "heldout_masks": 4, "heldout_repeats": 4, "partition_models": 16},
    **{"curve": [32], "estimators": ["lasso", "difference"]},
}
"""48 models in 3 partitions and 4 x 4 held-out ones in a fourth: 15 partitions of 6 tables in half a second."""

_count = itertools.count()


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def make_study(**changes: object) -> Study:
    """The small study with other top-level fields."""
    return study.parse({**SMALL, **changes}, "small.toml")


def build(lake: Lake, chosen: Study, **options: object) -> loop.Report:
    """Build what is missing in this process, without a word."""
    return loop.build_missing(lake, chosen, loop.Options(**options), Progress(quiet=True))


@pytest.fixture
def by_workers(monkeypatch) -> None:
    """Lets the engine do even what this process would do sooner."""
    monkeypatch.setattr(loop, "QUICK_SECONDS", 0.0)


def contents_of(lake: Lake) -> dict[str, str]:
    """Content hash of every partition, read from the files themselves, by path."""
    every = {p: stat for table in TABLES for p, stat in lake.present(table).items()}
    return {p.path: facts.content for p, facts in Lake(lake.root).facts(every).items()}


@pytest.fixture(scope="session")
def small() -> Study:
    """The small study."""
    return make_study()


@pytest.fixture(scope="session")
def every_estimator() -> Study:
    """The small study with 160 models, fitted by every estimator."""
    return make_study(models=160, estimators=list(study.ESTIMATORS), curve=[])


@pytest.fixture(scope="session")
def estimated(every_estimator: Study, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Its lake, which tests do not change."""
    lake = Lake(tmp_path_factory.mktemp("estimated") / "lake")
    assert not build(lake, every_estimator).failures
    return lake


@pytest.fixture
def study_of() -> Callable[..., Study]:
    """`make_study`, for tests."""
    return make_study


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the small study with other top-level fields as TOML, and returns the path."""

    def write(**changes: object) -> Path:
        fields = {**SMALL, **changes}
        lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if not isinstance(value, dict)]
        for name, table in ((n, t) for n, t in fields.items() if isinstance(t, dict)):
            lines += [f"[{name}]", *(f"{option} = {json.dumps(value)}" for option, value in table.items())]
        path = tmp_path / f"{fields['name']}.toml"
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture
def build_missing() -> Callable[..., loop.Report]:
    """`build`, for tests."""
    return build


@pytest.fixture
def contents() -> Callable[[Lake], dict[str, str]]:
    """`contents_of`, for tests."""
    return contents_of


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, small: Study) -> Lake:
    """A lake with all of the small study, shared: to be read only."""
    lake = Lake(tmp_path_factory.mktemp("built") / "lake")
    report = build(lake, small)
    assert not report.failures
    assert not report.left
    return lake


def extended(built: Lake, folder: Path, study: Study, added: dict[str, int]) -> Lake:
    """A copy of a lake in `folder` with what more a study asks for: so many partitions of each table."""
    lake = Lake(shutil.copytree(built.root, folder))
    report = build(lake, study)
    assert not report.failures
    assert not report.left
    assert report.added == added
    return lake


@pytest.fixture(scope="session")
def checked_study() -> Study:
    """The small study with counterfactuals, also by another algorithm, and data supports of 12 targets in two blocks."""
    removals = {"targets": 3, "sizes": [4, 8], "repeats": 2, "transfer": [{"name": "patchnet", "widths": [], "epochs": 1}]}
    support = {"targets": 12, "methods": ["datamodel", "pixels"], "repeats": 2, "confirmations": 2, "most": 0.5}
    return make_study(removals=removals, support=support)


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory, built: Lake, checked_study: Study) -> Lake:
    """A lake with all of it, shared: to be read only."""
    added = {"removals": 2, "masks": 12, "margins": 12, "supports": 2}
    return extended(built, tmp_path_factory.mktemp("checked") / "lake", checked_study, added)


@pytest.fixture(scope="session")
def structured_study() -> Study:
    """The small study with components, clusters, and retrains without either end of two components."""
    asked = {"components": 6, "clusters": 5, "subpopulations": 2, "interventions": 2, "size": 7, "repeats": 2}
    return make_study(structure=asked)


@pytest.fixture(scope="session")
def structured(tmp_path_factory: pytest.TempPathFactory, built: Lake, structured_study: Study) -> Lake:
    """A lake with all of it, shared: to be read only."""
    added = {"components": 1, "clusters": 1, "interventions": 1, "masks": 1, "margins": 1}
    return extended(built, tmp_path_factory.mktemp("structured") / "lake", structured_study, added)


@pytest.fixture
def built_copy(built: Lake, tmp_path: Path) -> Lake:
    """All of the small study, to be changed."""
    return Lake(shutil.copytree(built.root, tmp_path / "built"))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module of a user's into the current folder, a fresh one, and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> str:
        name = f"own{next(_count)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return name

    return write


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `python -m PACKAGE ...` in this process to its exit code."""

    def call(package: str, *arguments: object) -> Ended:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        monkeypatch.setattr(sys, "argv", [package, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run(importlib.import_module(f"{package}.__main__").app)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    return call
