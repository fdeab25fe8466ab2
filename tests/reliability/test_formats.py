"""B4: a lake of every format that was ever released opens and is whole; a newer one is refused with the version it needs."""

import json
import shutil
from pathlib import Path

import pytest
from world import audit, stored

from lake.catalog import connect
from lake.errors import LakeError
from lake.store import Lake
from lake.tables import FORMAT, TABLES
from lake.verify import verify

KEPT = sorted((Path(__file__).parents[1] / "fixtures").glob("format-*"))


@pytest.fixture(params=KEPT, ids=lambda folder: folder.name)
def kept(request, tmp_path):
    """A copy of the lake of one format, and what was written down about it when it was made."""
    lake = Lake(shutil.copytree(request.param / "lake", tmp_path / "lake"))
    return lake, json.loads((request.param / "contents.json").read_text())


def test_there_is_a_lake_of_every_format_and_of_every_table():
    assert {folder.name.split("-")[1] for folder in KEPT} == {str(n) for n in range(1, FORMAT + 1)}
    newest = json.loads((KEPT[-1] / "contents.json").read_text())
    assert newest["format"] == FORMAT
    assert {path.split("/")[0] for path in newest["contents"]} == set(TABLES)
    assert sum(path.stat().st_size for folder in KEPT for path in folder.rglob("*") if path.is_file()) < 300_000 * len(KEPT)


@pytest.mark.row("B4")
def test_its_rows_are_those_that_were_written(kept, tally):
    lake, written = kept
    assert stored(lake) == written["contents"]
    assert {path.split("/")[0] for path in written["contents"]} >= {"examples", "masks", "margins", "fits", "weights"}
    tally(acknowledged=len(written["contents"]))


def test_it_is_whole_and_answers(kept, audited):
    lake, written = kept
    assert audited(lake) == []
    connection = connect(lake.root, locked=True)
    counts = [connection.execute(f"select count(*) from {table}").fetchone()[0] for table in TABLES]
    assert counts == [sum(f.rows for f in lake.facts(lake.present(table)).values()) for table in TABLES]
    tables = {path.split("/")[0] for path in written["contents"]}  # a table that came later is there and empty
    assert {table for table, count in zip(TABLES, counts, strict=True) if count} == tables


@pytest.mark.row("B4", control=True)
def test_a_changed_byte_in_it_is_found(kept):
    """The control."""
    lake, written = kept
    path = lake.root / next(iter(written["contents"]))
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    assert [p.path for p in audit(lake)] == [str(path.relative_to(lake.root))]


@pytest.mark.row("B4")
def test_one_of_the_next_format_is_refused_with_the_version_it_needs(lake, rows_of, facts_of):
    from lake.partition import Partition

    partition = Partition("masks", "half", "fit", 0)
    lake.publish(partition, rows_of(partition), facts_of(partition, format=FORMAT + 1, code="9.9.0"))
    with pytest.raises(LakeError, match=rf"format {FORMAT + 1} by version 9.9.0.*upgrade"):
        lake.facts(lake.present("masks"))
    (problem,) = verify(lake)
    assert "upgrade" in problem.what
    assert "leave it where it is" in problem.advice
