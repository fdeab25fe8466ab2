"""Whatever dies: nothing acknowledged is lost, nothing torn is seen, and one name has one winner."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.catalog import CATALOG
from lake.partition import Partition
from lake.store import Lake
from lake.verify import verify

KILLS, RACES, WRITERS = 40, 50, 4


def run(*arguments: object) -> list[str]:
    """Lines printed by faults.py."""
    script = Path(__file__).with_name("faults.py")
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        **{"capture_output": True, "text": True, "timeout": 300, "check": True, "cwd": script.parents[2]},
        env={"PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"},
    )
    return done.stdout.splitlines()


@pytest.mark.row("R1")
@pytest.mark.case(27)
def test_killed_writers_lose_nothing_and_leave_nothing_torn(lake, tally):
    lines = run("kill", lake.root, KILLS, 1, "publish")
    acknowledged = {Partition("masks", "half", "fit", int(i)) for line in lines for i in line.split()}
    assert len(lines) == KILLS
    assert len(acknowledged) > 8 * KILLS  # the floor: each writer had done something before it was killed
    tally(kills=KILLS, acknowledged=len(acknowledged), lost=len(acknowledged - lake.present("masks").keys()))

    present = lake.present("masks")
    assert acknowledged <= present.keys()
    assert len(present) - len(acknowledged) <= KILLS  # whole, but killed before it could say so
    assert verify(lake, deep=True) == []

    leftovers = list((lake.root / ".staging").iterdir())
    assert leftovers
    with lake.files.staging() as alive:
        alive.write_bytes(b"at work")
        assert lake.files.sweep() == len([path for path in leftovers if path.suffix == ".lock"])
        assert alive.read_bytes() == b"at work"
        assert len(list((lake.root / ".staging").iterdir())) == 2  # the file at work and its lock
    assert list((lake.root / ".staging").iterdir()) == []
    assert verify(lake) == []


@pytest.mark.slow
@pytest.mark.row("R1")
def test_a_catalog_whose_writer_is_killed_opens_and_sees_everything(lake, tally):
    lines = run("kill", lake.root, 10, 1, "publish_and_catalog")
    acknowledged = {int(i) for line in lines for i in line.split()}
    tally(kills=10, acknowledged=len(acknowledged))
    assert len(acknowledged) > 80
    with duckdb.connect(lake.root / CATALOG, read_only=True) as shell:
        assert {i for (i,) in shell.sql("select index from partitions").fetchall()} >= acknowledged
    assert lake.files.sweep() > 0
    assert list((lake.root / ".staging").iterdir()) == []
    assert verify(lake, deep=True) == []


@pytest.mark.row("R1", control=True)
def test_killed_writers_that_write_straight_leave_torn_files(lake):
    """The control: the same kills find the fault where there is one."""
    run("kill", lake.root, KILLS // 2, 1, "write_straight")
    torn = 0
    for path in lake.files.list():
        try:
            pq.read_metadata(lake.root / path)
        except pa.ArrowException:
            torn += 1
    assert torn > KILLS // 4  # of half as many kills


@pytest.fixture
def winners():
    """Race for `rounds` names; outcomes by round, one letter a writer."""

    def collect(root: Path, rounds: int, way: str) -> list[str]:
        return ["".join(outcomes) for outcomes in zip(*run("race", root, rounds, WRITERS, way), strict=True)]

    return collect


@pytest.mark.row("R8")
@pytest.mark.case(24, 25)
def test_one_of_many_writers_wins_each_name(lake, winners):
    outcomes = winners(lake.root, RACES, "publish")
    assert len(outcomes) == RACES
    for index, found in enumerate(outcomes):
        rest = "A" if index % 2 == 0 else "C"  # agreed with equal rows, in conflict with other rows
        assert sorted(found) == sorted("W" + rest * (WRITERS - 1))
    assert len(lake.present("masks")) == RACES
    assert verify(lake, deep=True) == []
    assert list((lake.root / ".staging").iterdir()) == []


@pytest.mark.row("R8", control=True)
def test_replacing_lets_every_writer_win(tmp_path, winners):
    """The control: by rename all report success, and the work of all but one is gone."""
    outcomes = winners(tmp_path / "replaced", 10, "write_and_replace")
    assert outcomes == ["W" * WRITERS] * 10
    assert len(list(Lake(tmp_path / "replaced").files.list("masks"))) == 10
