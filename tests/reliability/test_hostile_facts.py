"""B3, B5, B6, B8: files that a stranger sealed well, whose footers and rows hold what no builder writes; odd links and pipes."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest
from world import frozen, masks

from lake import parquet
from lake.doctor import examine
from lake.errors import CorruptError
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import Problem, verify

KEPT = Path(__file__).parents[1] / "fixtures" / "format-1" / "lake"
MARGINS = "margins/study=kept/fit-00000.parquet"


@pytest.fixture
def kept(tmp_path):
    """A lake of a small study."""
    return Lake(shutil.copytree(KEPT, tmp_path / "lake", ignore=shutil.ignore_patterns(".lake")))


def forge(lake: Lake, path: str, monkeypatch, rows: pa.Table | None = None, **fields: object) -> None:
    """Put other rows, or other facts, under a name, with a seal that holds."""
    partition = parse_path(path)
    rows, facts = rows or lake.read(partition), lake.facts(lake.present(partition.table))[partition]
    (lake.root / path).unlink()
    shutil.rmtree(lake.files.cache)
    with monkeypatch.context() as patch:
        patch.setattr(
            parquet.Facts, "to_json", lambda own: json.dumps({**asdict(own), **fields}, sort_keys=True, separators=(",", ":"))
        )
        parquet.write(rows, TABLES[partition.table], facts, lake.root / path)


ODD = {
    "identity": [[1], "x", None],
    "fingerprint": [[1], None],
    "index": [False, 0.0],
    "content": [3],
    "seconds": ["x", float("nan")],
    "device": [["x"]],
    "libraries": ["x"],
    "code": [None],
    "n_failed": ["q"],
    "format": [True, 0.5, None],
}


@pytest.mark.row("B3")
@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in ODD.items() for value in values], ids=str)
def test_a_sealed_footer_of_other_kinds_is_named_and_stops_nothing_else(kept, monkeypatch, tally, field, value):
    forge(kept, MARGINS, monkeypatch, **{field: value})
    assert [problem.path for problem in verify(kept)] == [MARGINS]
    with pytest.raises(CorruptError, match=MARGINS):
        kept.facts(kept.present("margins"))
    assert examine(kept)[1] == "make verify QUARANTINE=1"
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B3")
@pytest.mark.parametrize("identity", [{}, {"pool": 1}, {"seed": "x"}], ids=str)
def test_an_identity_of_no_study_is_named_by_the_deep_check(kept, monkeypatch, identity, tally):
    own = kept.facts(kept.present("margins"))[Partition("margins", "kept", "fit", 0)].identity
    other = {**own, **identity} if "seed" in identity else {"rules": own["rules"], **identity}
    forge(kept, MARGINS, monkeypatch, identity=other)
    assert [problem.path for problem in verify(kept, deep=True)] == [MARGINS]
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B3")
@pytest.mark.parametrize("column", ["test_margin", "train_margin"])
@pytest.mark.parametrize("which", [slice(0, 1), slice(0, None)], ids=["one", "all"])
def test_margins_of_another_length_are_named_and_no_mask_is_blamed(kept, monkeypatch, column, which, tally):
    rows = kept.read(parse_path(MARGINS))
    at, lists = rows.schema.get_field_index(column), rows[column].to_pylist()
    lists[which] = [values[:-1] for values in lists[which]]
    other = rows.set_column(at, rows.schema.field(at), pa.array(lists, rows.schema.field(at).type))
    forge(kept, MARGINS, monkeypatch, other)
    assert [problem.path for problem in verify(kept, deep=True)] == [MARGINS]
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B6")
def test_a_name_cannot_write_on_the_terminal():
    assert str(Problem("masks/a\nb\x1b[2J\u202e\udcff.parquet", "is odd", "Look")) == (
        "masks/a\\nb\\x1b[2J\\u202e\\udcff.parquet: is odd. Look"
    )


@pytest.mark.row("B8")
@pytest.mark.parametrize("name", [".lake", "masks", "masks/study=half"])
def test_a_folder_that_is_a_link_is_not_read_or_written_through(lake, tmp_path, name, tally):
    lake.publish(*masks(0))
    outside = tmp_path / "outside"
    (lake.root / name).rename(outside) if name != ".lake" else outside.mkdir()
    (lake.root / name).symlink_to(outside)
    with frozen(outside):
        for work in (lambda: lake.present("masks", "half"), lambda: verify(lake)):
            with pytest.raises(CorruptError, match="is a link"):
                work()
            tally(bad_tried=1, refused=1)


@pytest.mark.row("B8")
@pytest.mark.limit(20)
def test_a_pipe_in_the_place_of_the_footer_cache_keeps_nobody_waiting(lake, tally):
    lake.publish(*masks(0))
    lake.files.cache.mkdir(exist_ok=True)
    os.mkfifo(lake.files.cache / "footers")
    assert len(lake.facts(lake.present("masks"))) == 1
    tally(bad_tried=1, refused=1)
