"""R4, R19 and cases of machines: full disks, read-only places, no home, no terminal, odd locales and paths, bare installs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from world import ROOT, audit, build, masks, small, small_toml, stored

from builders import datamodels
from builders.export import export
from lake.catalog import connect, write_catalog
from lake.errors import LakeError
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import verify


@pytest.mark.row("R4")
@pytest.mark.case(39, 40)
def test_a_disk_that_fills_up_in_a_build_stops_it_by_name_and_room_lets_it_go_on(disk, tmp_path, tally):
    undisturbed = Lake(tmp_path / "undisturbed")
    build(undisturbed, small())
    folder = disk(2)
    lake = Lake(folder / "lake")
    fits = 0
    for free in (20_000, 90_000, 200_000):
        ballast = folder / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(max(0, _free(folder) - free)))
        try:
            report = build(lake, small())
            said = report.failures
        except LakeError as error:
            said = [str(error)]
        assert said
        assert all("disk full" in line and str(lake.root) in line and "free" in line for line in said), said
        assert audit(lake) == []
        assert stored(lake).items() <= stored(undisturbed).items()
        assert len(stored(lake)) >= fits
        fits = len(stored(lake))
        assert not list((lake.root / ".staging").iterdir())
        tally(faults_injected=1, survived=1, named=1, acknowledged=fits)
        ballast.unlink()
    report = build(lake, small())
    assert stored(lake) == stored(undisturbed)
    assert sum(report.added.values()) == len(stored(undisturbed)) - fits  # finished work is not repeated


def _free(folder: Path) -> int:
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


@pytest.mark.row("R4")
def test_a_full_disk_under_the_catalog_and_the_caches_is_one_line_or_nothing(disk, tally):
    folder = disk(1)
    lake = Lake(folder / "lake")
    for index in range(3):
        lake.publish(*masks(index))
    (folder / "ballast").write_bytes(bytes(_free(folder)))
    with pytest.raises(LakeError, match=r"not written|disk full"):
        write_catalog(lake.root)
    assert len(lake.facts(lake.present("masks"))) == 3  # a cache that cannot be kept is done without
    assert connect(lake.root).execute("select count(*) from masks").fetchone() == (9,)
    assert audit(lake) == []
    assert not list((lake.root / ".staging").iterdir())
    tally(faults_injected=2, survived=2, named=1)


@pytest.mark.row("R4", control=True)
def test_a_library_that_writes_to_the_final_name_leaves_a_torn_file_on_a_full_disk(disk):
    import polars as pl

    folder = disk(1)
    frame = pl.DataFrame({"a": np.random.default_rng(0).integers(0, 2**62, 400_000)})
    with pytest.raises((pl.exceptions.PolarsError, OSError), match="No space"):
        frame.write_parquet(folder / "final.parquet")
    assert (folder / "final.parquet").stat().st_size > 0
    with pytest.raises((pl.exceptions.PolarsError, OSError)):
        pl.read_parquet(folder / "final.parquet")


CLEAN = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
PLACES = {
    "no HOME": {},
    "HOME is not there": {"HOME": "/nonexistent"},
    "ASCII": {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "HOME": "/nonexistent"},
    "Latin": {"LC_ALL": "en_US.ISO-8859-1", "HOME": "/tmp"},
    "no colour, 40 columns": {"NO_COLOR": "1", "COLUMNS": "40", "TERM": "dumb"},
}


@pytest.mark.row("R19")
@pytest.mark.parametrize(
    "name", ["a" * 200, "\u00e9t\u00e9 o'b [1] %2F", 'quo"te;--', "*?", "-rf", "new\nline"], ids=lambda name: ascii(name)[:20]
)
def test_a_lake_in_a_folder_of_any_name_is_filled_asked_and_checked(tmp_path, name, tally):
    lake = Lake(tmp_path / name / "lake")
    for index in (0, 1):
        lake.publish(*masks(index))
    assert connect(lake.root).execute("select count(*) from masks").fetchone() == (6,)
    if not set(name) & set("*?"):  # a catalog file holds patterns, and says so
        with duckdb.connect(write_catalog(lake.root), read_only=True) as shell:
            assert shell.execute("select count(*) from masks").fetchone() == (6,)
    assert verify(lake, deep=True) == []
    tally(acknowledged=2)


@pytest.mark.row("R19")
@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_lake_is_built_asked_and_checked_anywhere(tmp_path, place, tally):
    folder = tmp_path / "\u00e9t\u00e9 o'b [1] %2F"
    folder.mkdir()
    toml, lake = small_toml(folder), folder / "lake"
    commands = [
        ("builders", "build-missing", "--study", toml, "--lake", lake, "--workers", 1),
        ("builders", "status", "--study", toml, "--lake", lake),
        ("queries", "run", "lds", "--lake", lake),
        ("lake", "verify", "--lake", lake, "--deep"),
        ("lake", "doctor", "--lake", lake),
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            **{"env": {**CLEAN, **PLACES[place]}, "cwd": folder, "stdin": subprocess.DEVNULL, "timeout": 150},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr[-800:])
        assert b"Traceback" not in done.stderr
    assert len(stored(Lake(lake))) >= 15
    tally(faults_injected=len(commands), survived=len(commands))


@pytest.mark.row("R19", control=True)
def test_a_path_pasted_into_sql_would_break(tmp_path):
    """Why paths are quoted and escaped: the folder above, as other tools would put it."""
    lake = Lake(tmp_path / "o'b [1]")
    lake.publish(*masks(0))
    for text in (f"from '{lake.root}/masks/*/*.parquet'", f'from read_parquet("{lake.root}/masks/*/*.parquet")'):
        with pytest.raises(duckdb.Error):
            duckdb.connect().execute(text).fetchall()
    assert connect(lake.root).execute("select count(*) from masks").fetchone() == (3,)


@pytest.mark.row("B9", control=True)
def test_a_pickle_would_run_when_a_library_is_asked_to(tmp_path, monkeypatch):
    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    np.save(tmp_path / "evil.npy", np.array([Canary()], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(tmp_path / "evil.npy")
    assert not (tmp_path / "canary").exists()
    np.load(tmp_path / "evil.npy", allow_pickle=True)
    assert (tmp_path / "canary").exists()


@pytest.mark.row("B10", control=True)
def test_a_text_pasted_into_sql_would_run(sample):
    text = "' union all select 'x' --"
    connection = connect(sample.root)
    pasted = connection.execute(f"select study_id from masks where role = '{text}'").fetchall()
    bound = connection.execute("select study_id from masks where role = ?", [text]).fetchall()
    assert (pasted, bound) == ([("x",)], [])


@pytest.mark.case(9)
def test_a_fit_before_its_models_says_what_is_missing(lake, tally):
    chosen = small()
    [unit, *_] = datamodels.plan(chosen)
    lake.root.mkdir(parents=True)
    with pytest.raises(LakeError, match=r"is not in the lake: `make build-missing` makes it"):
        list(datamodels.build(lake, chosen, unit))
    report = build(lake, chosen, shard=(1, 3))
    assert report.left > 0
    assert not report.failures
    assert set(lake.present("fits")) == set()  # some of the models are no models
    tally(faults_injected=2, survived=2, named=1)


@pytest.mark.case(67)
def test_every_locked_dependency_is_a_wheel_that_needs_no_compiler():
    import importlib.metadata

    lines = (ROOT / "requirements.lock").read_text().splitlines()
    names = [line.split("==")[0] for line in lines if "==" in line and not line.startswith("#")]
    assert len(names) > 50
    tags = {}
    for name in names:
        try:
            wheel = importlib.metadata.distribution(name).read_text("WHEEL") or ""
        except importlib.metadata.PackageNotFoundError:
            continue
        tags[name] = re.findall(r"^Tag: (.+)$", wheel, re.M)
    assert len(tags) > 50
    own = [name for name, tag in tags.items() if any(re.search(r"-linux_x86_64$", each) for each in tag)]
    assert set(own) <= {"ray"}  # its own wheel says so; one that was built on this machine would too


@pytest.mark.row("R17")
@pytest.mark.case(61)
def test_the_device_of_every_partition_is_recorded(tmp_path):
    lake = Lake(tmp_path / "lake")
    build(lake, small(curve=[], estimators=["difference"]))
    facts = lake.facts({p: s for table in TABLES for p, s in lake.present(table).items()}).values()
    assert all(f.device and f.libraries and f.code for f in facts)
    assert verify(lake) == []


@pytest.mark.case(39)
def test_a_memory_map_is_written_only_where_its_room_is_reserved(disk, tmp_path, tally):
    modules = [path for package in ("lake", "builders", "queries") for path in (ROOT / package).rglob("*.py")]
    written = re.compile(r"open_memmap\(|np\.memmap\([^)]*mode\s*=\s*.(w\+|r\+)")
    assert {path.name for path in modules if written.search(path.read_text())} == {"export.py"}
    lake, folder = Lake(tmp_path / "lake"), disk(1)
    build(lake, small(curve=[], estimators=["difference"]))
    (folder / "ballast").write_bytes(bytes(_free(folder)))
    with pytest.raises(LakeError, match="disk full"):
        export(lake, "small", ("fit",), folder / "out")
    (folder / "ballast").unlink()
    assert export(lake, "small", ("fit",), folder / "out") == 48
    tally(faults_injected=1, survived=1, named=1)


@pytest.mark.case(58)
def test_the_oldest_arrow_that_is_allowed_runs_no_pickle():
    [wanted] = re.findall(r'"pyarrow>=(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert int(wanted) >= 15  # 14.0.1 was the first
