"""A lake is migrated into another: the old one stays, a stop costs nothing, and the result is today's."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from world import ROOT, frozen, masks, stored

from lake import migrate as migration
from lake import parquet
from lake.errors import CorruptError, UsageError
from lake.migrate import migrate
from lake.schema import Column, Table
from lake.store import Lake
from lake.tables import FORMAT, TABLES
from lake.verify import verify

N = 6


def older(rows: pa.Table) -> pa.Table:
    """Masks as a format 0 might have had them: the share in percent, and no design."""
    percent = pa.array([round(100 * share) for share in rows["alpha"].to_pylist()], pa.int32())
    return rows.drop_columns(["design"]).set_column(3, pa.field("percent", pa.int32(), nullable=False), percent)


def step(table: str, rows: pa.Table) -> pa.Table:
    """From that format to format 1."""
    schema = TABLES[table].schema
    share = pa.array([percent / 100 for percent in rows["percent"].to_pylist()], pa.float64())
    columns = {n: rows[n] for n in rows.column_names} | {"alpha": share, "design": pa.array(["fixed"] * len(rows))}
    return pa.table([columns[name] for name in schema.names], schema=schema)


def write_old(lake: Lake) -> None:
    """A lake of format 0 with a few partitions of masks."""
    spec = TABLES["masks"]
    columns = [Column("percent", pa.int32(), "share") if c.name == "alpha" else c for c in spec.columns if c.name != "design"]
    for index in range(N):
        partition, rows, facts = masks(index)
        (lake.root / partition.path).parent.mkdir(parents=True, exist_ok=True)
        before = replace(facts, format=0)
        parquet.write(older(rows), Table("masks", spec.row, tuple(columns), spec.sort), before, lake.root / partition.path)


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A lake of format 0, and the step that leads from it to format 1."""
    monkeypatch.setitem(migration.STEPS, 0, step)
    lake = Lake(tmp_path / "old")
    write_old(lake)
    return lake


@pytest.mark.row("B4", "R20")
def test_an_older_lake_becomes_one_of_today_and_stays_itself(old, lake, tally):
    with frozen(old.root):
        assert migrate(old, lake) == (N, 0)
        assert migrate(old, lake) == (0, N)
    assert stored(lake) == {masks(i)[0].path: parquet.content_hash(masks(i)[1]) for i in range(N)}
    assert {facts.format for facts in lake.facts(lake.present("masks")).values()} == {FORMAT}
    assert verify(lake, deep=True) == []
    tally(acknowledged=N)


@pytest.mark.row("R20", control=True)
def test_an_older_lake_is_not_read_as_if_it_were_of_today(old):
    problems = verify(old, deep=True)
    assert len(problems) == N


def test_a_lake_of_today_is_copied(sample, lake):
    with frozen(sample.root):
        added, _ = migrate(sample, lake)
    assert added == len(sample.files.list())
    assert stored(lake) == stored(sample)


def test_a_lake_is_not_migrated_onto_itself_or_from_nowhere(sample, lake, tmp_path):
    (tmp_path / "way").mkdir()
    with pytest.raises(UsageError, match="stays as it is"):
        migrate(sample, Lake(tmp_path / "way" / ".." / os.path.relpath(sample.root, tmp_path)))
    with pytest.raises(UsageError, match="no lake"):
        migrate(lake, Lake(tmp_path / "other"))


def test_a_damaged_file_stops_it_by_name_and_keeps_what_was_done(old, lake):
    path = old.root / masks(3)[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(CorruptError, match=masks(3)[0].path):
        migrate(old, lake)
    assert len(lake.present("masks")) == 3
    path.unlink()
    assert migrate(old, lake) == (N - 4, 3)


KILLED = """
import json, os, signal, sys
sys.path[:0] = [sys.argv[3], sys.argv[4]]
from shim import watched
from test_migrate import step
from lake import migrate
from lake.store import Lake
migrate.STEPS[0] = step
seen, nth = [], int(sys.argv[5])
def before(call, path):
    seen.append(call)
    if len(seen) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
with watched(Lake(sys.argv[2]).root, before):
    print(json.dumps(migrate.migrate(Lake(sys.argv[1]), Lake(sys.argv[2]))))
"""


def killed_at(old: Lake, new: Lake, nth: int) -> list[int] | None:
    """What a migration that is killed at the nth call on the new lake returns; None when the kill came first."""
    new.root.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(old.root),
        str(new.root),
        str(here.parent / "reliability"),
        str(here),
        str(nth),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


def kill_and_finish(old: Lake, folder: Path, points: list[int], tally) -> int:
    """How many partitions were there already when the next migration began."""
    before = 0
    for nth in points:
        new = Lake(folder / f"new{nth}")
        with frozen(old.root):
            assert killed_at(old, new, nth) is None
            done = stored(new)
            assert set(done.values()) <= {parquet.content_hash(masks(i)[1]) for i in range(N)}
            added, there = migrate(old, new)
        assert (added + there, there) == (N, len(done))
        assert verify(new, deep=True) == []
        tally(kills=1, acknowledged=len(done), faults_injected=1, survived=1)
        before += there
        shutil.rmtree(new.root)
    return before


@pytest.mark.row("R20")
def test_a_migration_that_is_killed_is_ended_by_the_next(old, tmp_path, tally):
    assert kill_and_finish(old, tmp_path, [130], tally) >= 1


@pytest.mark.slow
@pytest.mark.row("R20")
def test_a_migration_is_killed_at_forty_points(old, tmp_path, tally):
    assert kill_and_finish(old, tmp_path, list(range(1, 281, 7)), tally) >= 40
