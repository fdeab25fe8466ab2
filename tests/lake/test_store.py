"""The lake: what `publish` refuses, what it acknowledges, what a second publish does, and a cache that cannot lie."""

import json
import os
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from lake.catalog import connect, write_catalog
from lake.content import content_hash
from lake.errors import ConflictError, CorruptError, LakeError, UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

MASKS, MARGINS, FITS = (Partition(table, "half", "fit", 0) for table in ("masks", "margins", "fits"))


def put(rows: pa.Table, name: str, values) -> pa.Table:
    """`rows` with other values in one column."""
    field = rows.schema.field(name)
    column = values if isinstance(values, pa.Array) else pa.array(values, field.type)
    return rows.set_column(rows.schema.names.index(name), field, column)


@pytest.mark.parametrize("table", TABLES)
def test_published_rows_are_read_back_and_nothing_else_is_left(lake, rows_of, facts_of, table):
    partition = Partition(table, "half", "fit", 7)
    published = lake.publish(partition, rows_of(partition), facts_of(partition))
    assert published.new
    assert published.facts.rows == 3
    assert lake.read(partition).equals(rows_of(partition))
    assert list(lake.present(table)) == list(lake.present(table, "half")) == [partition]
    assert lake.facts(lake.present(table)) == {partition: published.facts}
    assert list(lake.files.list()) == [partition.path]
    assert list((lake.root / ".staging").iterdir()) == []


def test_publishing_twice_is_one_file_and_the_second_call_says_so(lake, rows_of, facts_of):
    first = lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS, seconds=1.0))
    before = (lake.root / MASKS.path).stat()[:4], (lake.root / MASKS.path).read_bytes()
    second = lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS, seconds=2.0))
    assert (first.new, second.new) == (True, False)
    assert second.facts == first.facts
    assert ((lake.root / MASKS.path).stat()[:4], (lake.root / MASKS.path).read_bytes()) == before
    assert len(lake.files.list()) == 1


@pytest.mark.case(25)
def test_other_rows_under_a_taken_name_are_a_conflict_that_names_both(lake, rows_of, facts_of):
    first = lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS, code="1.1"))
    before = (lake.root / MASKS.path).read_bytes()
    other = put(rows_of(MASKS), "alpha", [0.25] * 3)
    with pytest.raises(ConflictError) as caught:
        lake.publish(MASKS, other, facts_of(MASKS, code="2.2"))
    for part in (MASKS.path, first.facts.content[:12], content_hash(other)[:12], "1.1", "2.2", "nothing was written"):
        assert part in str(caught.value)
    assert (lake.root / MASKS.path).read_bytes() == before


def test_the_same_rows_of_another_study_are_a_conflict(lake, rows_of, facts_of):
    lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS))
    with pytest.raises(ConflictError, match=f"fingerprint {facts_of(MASKS).fingerprint}, ours is 0123"):
        lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS, fingerprint="0123"))


def test_a_torn_file_under_the_name_is_named_and_kept(lake, rows_of, facts_of):
    (lake.root / MASKS.path).parent.mkdir(parents=True)
    (lake.root / MASKS.path).write_bytes(b"PAR1 torn")
    with pytest.raises(CorruptError, match=rf"{MASKS.path}: .*QUARANTINE=1"):
        lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS))
    assert (lake.root / MASKS.path).read_bytes() == b"PAR1 torn"


def test_facts_of_another_partition_are_refused(lake, rows_of, facts_of):
    with pytest.raises(UsageError, match="the facts are those of masks/study=half/fit-00001"):
        lake.publish(MASKS, rows_of(MASKS), facts_of(replace(MASKS, index=1)))
    assert lake.files.list() == {}


def _lists(*rows) -> pa.Array:
    return pa.array(
        [r if r is None else [np.float16(v) for v in r] for r in rows], TABLES["margins"].schema.field("test_margin").type
    )


INVALID = {
    "a missing column": (MASKS, lambda r: r.drop_columns("alpha"), "alpha is None, expected double not null"),
    "a column too many": (MASKS, lambda r: r.append_column("x", r["alpha"]), "x is double, expected None"),
    "another order of columns": (MASKS, lambda r: r.select(r.column_names[::-1]), r"columns come as \['mask'"),
    "another type": (
        MASKS,
        lambda r: r.cast(_retyped(r.schema, "mask_id", pa.int64())),
        "mask_id is int64 not null, expected int32",
    ),
    "a wider float": (
        MARGINS,
        lambda r: r.cast(_retyped(r.schema, "test_margin", pa.list_(pa.float32()))),
        "test_margin is list",
    ),
    "a nullable column": (
        MASKS,
        lambda r: pa.table(r.columns, names=r.column_names),
        "study_id is string, expected string not null",
    ),
    "a NULL": (MASKS, lambda r: put(r, "alpha", [0.5, None, 0.5]), "column alpha has 1 NULLs and may have none"),
    "NaN": (FITS, lambda r: put(r, "bias", [0.0, np.nan, 0.0]), "column bias holds NaN or infinity: store NULL"),
    "infinity": (FITS, lambda r: put(r, "lam", [0.0, None, -np.inf]), "column lam holds NaN or infinity"),
    "NaN in a list": (
        MARGINS,
        lambda r: put(r, "test_margin", _lists([1, np.nan], None, [1, 2])),
        "column test_margin holds NaN",
    ),
    "an overflow in a list": (
        MARGINS,
        lambda r: put(r, "test_margin", _lists([1, 2], None, [1, np.inf])),
        "test_margin holds NaN or inf",
    ),
    "NULL in a list": (MARGINS, lambda r: put(r, "test_margin", _null_inside()), "column test_margin holds NaN"),
    "falling order": (MASKS, lambda r: r.take([0, 2, 1]), "not in strictly rising order of role, mask_id"),
    "a duplicate": (MASKS, lambda r: r.take([0, 1, 1]), "not in strictly rising order"),
    "another owner": (
        MASKS,
        lambda r: put(r, "study_id", ["half", "half", "other"]),
        r"study_id is \['half', 'other'\], expected 'half' only",
    ),
    "another role": (MASKS, lambda r: put(r, "role", ["heldout"] * 3), r"role is \['heldout'\], expected 'fit' only"),
}


def _retyped(schema: pa.Schema, name: str, kind: pa.DataType) -> pa.Schema:
    return schema.set(schema.names.index(name), pa.field(name, kind, schema.field(name).nullable))


def _null_inside() -> pa.Array:
    values = pa.array([np.float16(1), None], pa.float16())
    kind = TABLES["margins"].schema.field("test_margin").type
    return pa.ListArray.from_arrays(pa.array([0, 2, 2, 2], pa.int32()), values, type=kind)


@pytest.mark.parametrize("wrong", INVALID)
@pytest.mark.row("B3")
@pytest.mark.case(8, 21)
def test_rows_that_break_the_contract_are_refused_by_name(lake, rows_of, facts_of, wrong):
    partition, break_rows, message = INVALID[wrong]
    with pytest.raises(LakeError, match=message) as caught:
        lake.publish(partition, break_rows(rows_of(partition)), facts_of(partition))
    assert partition.path in str(caught.value)
    assert not lake.root.exists()


def test_order_is_that_of_all_sort_columns(lake, rows_of, facts_of):
    weights = Partition("weights", "half", "lasso", 0)
    rows = put(put(rows_of(weights), "target_id", [0, 0, 1]), "train_id", [3, 4, 0])
    assert lake.publish(weights, rows, facts_of(weights)).new
    with pytest.raises(LakeError, match="fit, split, target_id, train_id"):
        lake.publish(weights, put(rows, "train_id", [4, 3, 0]), facts_of(weights))


def test_chunks_and_metadata_of_the_rows_do_not_matter(lake, rows_of, facts_of):
    rows = rows_of(MASKS)
    lake.publish(MASKS, rows, facts_of(MASKS))
    pieces = pa.concat_tables([rows.slice(0, 1), rows.slice(1)]).replace_schema_metadata({"pandas": "{}"})
    assert not lake.publish(MASKS, pieces, facts_of(MASKS)).new


def test_present_asks_for_tables_and_names_that_can_be(lake):
    assert lake.present("masks") == lake.present("masks", "half") == {}
    for arguments in (("nope",), ("masks", "../.."), ("masks", "half/../../.."), ("../masks",), ("masks", "")):
        with pytest.raises(UsageError):
            lake.present(*arguments)


def test_present_leaves_foreign_files_out(sample_copy):
    there = sample_copy.present("masks")
    for name in (
        "masks/study=half/fit-00000.parquet.tmp",
        "masks/study=half/.DS_Store",
        "masks/notes.parquet",
        "masks/study=half/deep/fit-00001.parquet",
    ):
        (sample_copy.root / name).parent.mkdir(exist_ok=True)
        (sample_copy.root / name).write_text("foreign")
    assert sample_copy.present("masks") == there
    assert len(there) == 4


def test_reading_an_absent_partition_says_how_to_make_it(lake):
    with pytest.raises(LakeError, match=rf"{MASKS.path} is not in the lake: `make build-missing`"):
        lake.read(MASKS)


def test_a_folder_under_a_partition_name_is_one_clear_line(lake, rows_of, facts_of):
    (lake.root / MASKS.path).mkdir(parents=True)
    with pytest.raises(LakeError, match=rf"{MASKS.path} cannot be read \(Is a directory\)"):
        lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS))
    assert lake.present("masks") == {}


def test_a_renamed_partition_is_named_with_what_it_holds(sample_copy):
    ours, copied = Partition("masks", "half", "fit", 0), Partition("masks", "half", "fit", 1)
    os.link(sample_copy.root / ours.path, sample_copy.root / copied.path)
    with pytest.raises(CorruptError, match=rf"{copied.path} holds {ours.path}"):
        sample_copy.facts(sample_copy.present("masks"))


def test_a_column_renamed_by_a_flipped_bit_is_corrupt(sample_copy):
    path = sample_copy.root / MASKS.path
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"mask_id", b"masc_id"))
    with pytest.raises(CorruptError, match=rf"{MASKS.path}: .*not those of the table.*QUARANTINE=1"):
        sample_copy.read(MASKS)


def test_a_newer_file_is_named_and_needs_an_upgrade(lake, rows_of, facts_of):
    lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS, format=99, code="9.9"))
    with pytest.raises(LakeError, match=rf"{MASKS.path}: written in format 99 by version 9\.9"):
        lake.facts(lake.present("masks"))


def test_scan_keeps_the_given_order_and_columns(sample):
    partitions = [Partition("masks", "half", role, 0) for role in ("heldout", "fit")]
    rows = sample.scan(partitions, ["role", "mask_id"])
    assert rows.column_names == ["role", "mask_id"]
    assert rows["role"].to_pylist() == ["heldout"] * 3 + ["fit"] * 3


def test_quarantine_keeps_the_bytes_and_makes_the_partition_missing(sample_copy):
    before = (sample_copy.root / MASKS.path).read_bytes()
    kept = sample_copy.quarantine(MASKS)
    assert (sample_copy.root / kept).read_bytes() == before
    assert MASKS not in sample_copy.present("masks")
    assert kept not in sample_copy.files.list()


# ---- footer cache


def test_the_cache_saves_reading_and_may_be_deleted(sample_copy, monkeypatch):
    expected = sample_copy.facts(present := sample_copy.present("margins"))
    with monkeypatch.context() as patch:
        patch.setattr(sample_copy, "_read_facts", lambda partition: pytest.fail(f"{partition} was read again"))
        assert sample_copy.facts(present) == expected
    (sample_copy.root / ".lake" / "footers").unlink()
    assert sample_copy.facts(present) == expected


@pytest.mark.row("B5")
def test_a_garbled_cache_changes_nothing(sample_copy):
    (sample_copy.root / ".lake" / "footers").unlink(missing_ok=True)
    expected = sample_copy.facts(present := sample_copy.present("margins"))
    cache, rng = sample_copy.root / ".lake" / "footers", np.random.default_rng(0)
    whole = cache.read_bytes()
    garbled = [b"", b"null", b"[]", b'{"identities": {}, "footers": []}', b"\xff\xfe", whole[: len(whole) // 2], whole + b" "]
    for bit in rng.integers(0, 8 * len(whole), 60).tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        garbled.append(bytes(flipped))
    for content in garbled:
        cache.write_bytes(content)
        assert sample_copy.facts(present) == expected
        assert cache.read_bytes() == whole


def test_a_stale_cache_does_not_hide_a_new_file(sample_copy, rows_of, facts_of):
    sample_copy.facts(sample_copy.present("masks"))
    stale = (sample_copy.root / ".lake" / "footers").read_bytes()
    sample_copy.quarantine(MASKS)
    renewed = sample_copy.publish(MASKS, put(rows_of(MASKS), "alpha", [0.25] * 3), facts_of(MASKS)).facts
    (sample_copy.root / ".lake" / "footers").write_bytes(stale)
    found = sample_copy.facts(sample_copy.present("masks"))
    assert found[MASKS] == renewed
    assert len(found) == 4


@pytest.mark.parametrize("block", ["file", "folder"])
def test_a_cache_that_cannot_be_written_is_done_without(sample_copy, block):
    expected = sample_copy.facts(present := sample_copy.present("masks"))
    (sample_copy.root / ".lake" / "footers").unlink()
    if block == "file":
        (sample_copy.root / ".lake").rmdir()
        (sample_copy.root / ".lake").write_text("in the way")
    else:
        (sample_copy.root / ".lake" / "footers").mkdir()
    assert sample_copy.facts(present) == expected
    assert list((sample_copy.root / ".lake").glob("footers-*")) == []


def test_the_cache_names_each_identity_once(sample_copy):
    sample_copy.facts({p: s for table in TABLES for p, s in sample_copy.present(table).items()})
    _, text = (sample_copy.root / ".lake" / "footers").read_text().split("\n")
    assert len(json.loads(text)["identities"]) == 3  # two studies and a dataset


# ---- odd places


ODD = ("o'b [1]", "a*b", "caf\u00e9 \u65e5\u672c", "semi;colon--", '"quoted" $HOME %20', "{x,y}")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.row("R19")
@pytest.mark.case(60)
def test_any_folder_name_works_from_publish_to_queries(tmp_path, rows_of, facts_of, name):
    lake = Lake(tmp_path / name / "lake")
    for sibling in ("o'b 1", "aXb"):  # what the name would match if it were read as a pattern
        other = Lake(tmp_path / sibling / "lake")
        other.publish(MASKS, put(rows_of(MASKS), "alpha", [0.25] * 3), facts_of(MASKS))
    lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS))
    sql = "select sum(alpha), count(*), (select list(file_name) from partitions) from masks"
    expected = (1.5, 3, [str(lake.root / MASKS.path)])
    assert connect(lake.root).execute(sql).fetchone() == expected
    assert connect(lake.root, locked=True).execute(sql).fetchone() == expected
    with duckdb.connect(write_catalog(lake.root), read_only=True) as shell:
        assert shell.execute(sql).fetchone() == expected


def test_a_relative_root_and_one_with_dots_work(tmp_path, monkeypatch, rows_of, facts_of):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for root in ("data", "../there/data", "./data"):
        lake = Lake(root)
        lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS))
        assert connect(root, locked=True).execute("select count(*) from masks").fetchone() == (3,)
