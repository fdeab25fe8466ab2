"""One file: its facts come back, its seal finds every damage, its bytes and encodings are what every reader opens."""

import hashlib
import io
import json
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import parquet
from lake.content import content_hash
from lake.errors import CorruptError, LakeError
from lake.parquet import Facts
from lake.partition import Partition
from lake.tables import FORMAT, TABLES

MARGINS = Partition("margins", "half", "fit", 0)


@pytest.fixture
def written(tmp_path, rows_of, facts_of):
    """Write rows of a partition, with these facts or its own, into a new file; return path and facts."""

    def write(partition=MARGINS, rows=None, name="file.parquet", **changed):
        rows = rows_of(partition) if rows is None else rows
        path = tmp_path / name
        return path, parquet.write(rows, TABLES[partition.table], facts_of(partition, **changed), path)

    return write


@pytest.fixture
def large(rows_of):
    """A margins table of several row groups and about 400 kB, in which most bits are float16 pages."""
    models = 130
    row = rows_of(MARGINS).slice(0, 1)
    lists = np.random.default_rng(0).normal(0, 4, (models, 1_000)).astype(np.float16)
    rows = pa.concat_tables([row] * models).combine_chunks()
    rows = rows.set_column(2, rows.schema.field("model_id"), pa.array(range(models), pa.int32()))
    return rows.set_column(9, rows.schema.field("test_margin"), pa.array(list(lists), rows.schema.field(9).type))


def test_facts_and_rows_come_back(written, rows_of):
    path, facts = written(seconds=1.5, libraries={"numpy": "2"}, n_failed=1)
    assert parquet.read_facts(path) == facts
    assert (facts.rows, facts.partition, facts.seconds) == (3, MARGINS, 1.5)
    assert parquet.read_rows(path).equals(rows_of(MARGINS), check_metadata=True)
    assert content_hash(parquet.read_rows(path)) == facts.content
    assert parquet.read_rows(path, ["role", "mask_id"]).column_names == ["role", "mask_id"]


def test_facts_survive_fields_of_a_later_version(facts_of):
    facts = facts_of(MARGINS)
    assert Facts.from_json(json.dumps({**json.loads(facts.to_json()), "colour": "blue"})) == facts


def test_a_newer_format_is_refused_with_its_version(written):
    path, _ = written(format=FORMAT + 1, code="9.9")
    with pytest.raises(LakeError, match=rf"format {FORMAT + 1} by version 9\.9.*up to format {FORMAT}: upgrade") as caught:
        parquet.read_facts(path)
    assert not isinstance(caught.value, CorruptError)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"x"', "{}", '{"format": "1"}', '{"table": "masks"}', "[" * 100_000, "\xff"],
    ids=lambda text: text[:9],
)
def test_footers_that_are_no_facts_are_corrupt(tmp_path, text):
    path = tmp_path / "file"
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"lake": text.encode("latin-1")}), path)
    with pytest.raises(CorruptError, match="not a partition of a lake"):
        parquet.read_facts(path)


@pytest.mark.parametrize(
    "changed",
    [{"table": "mbsks"}, {"value": "hAlf"}, {"role": "../fit"}, {"index": -1}, {"index": "0"}, {"value": None}],
    ids=str,
)
def test_facts_of_an_impossible_partition_are_corrupt(tmp_path, facts_of, changed):
    text = json.dumps({**json.loads(facts_of(MARGINS).to_json()), **changed})
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"lake": text}), tmp_path / "file")
    with pytest.raises(CorruptError):
        parquet.read_facts(tmp_path / "file")


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + bytes(8) + b"PAR1", b"<html>", bytes(64), b"\xff" * 99], ids=repr
)
def test_files_that_are_no_parquet_are_corrupt_and_unsealed(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert not parquet.seal_holds(io.BytesIO(content))
    for read in (parquet.read_facts, parquet.read_rows):
        with pytest.raises(CorruptError):
            read(tmp_path / "file")


def test_the_seal_holds_on_untouched_files(written, large):
    for path, _ in (written(), written(rows=large, name="large.parquet")):
        with path.open("rb") as file:
            assert parquet.seal_holds(file)


@pytest.mark.parametrize("order", [("lake", "lake.seal"), ("lake.seal", "lake"), ("lake", "more", "lake.seal")], ids=str)
@pytest.mark.parametrize("reason", [0, 20, 20_000])
def test_sealed_facts_are_those_that_pyarrow_reads_in_any_order_of_the_footer(tmp_path, facts_of, order, reason):
    """Their length takes two or three bytes; a byte that is flipped leaves none."""
    facts, path = facts_of(MARGINS, code="x" * reason), tmp_path / "file"
    values = {"lake": facts.to_json(), "lake.seal": "0" * 64, "more": "lake"}
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({key: values[key] for key in order}), path)
    parquet._seal(path)
    whole = path.read_bytes()
    assert parquet.read_sealed(io.BytesIO(whole)) == parquet.read_facts(path) == facts
    for at in (5, len(whole) // 2, len(whole) - 20):
        assert parquet.read_sealed(io.BytesIO(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])) is None


def test_the_seal_is_what_anybody_can_compute(written):
    """SHA-256 of the file with the seal's digits read as zeros: pinned by a computation of its own."""
    whole = written()[0].read_bytes()
    seal = pq.read_metadata(io.BytesIO(whole)).metadata[parquet.SEAL_KEY]
    assert whole.count(seal) == 1
    assert hashlib.sha256(whole.replace(seal, b"0" * 64)).hexdigest().encode() == seal


@pytest.mark.parametrize(("size", "flips"), [("small", 500), ("large", 300)])
@pytest.mark.row("B2")
def test_every_flipped_bit_breaks_the_seal(written, large, size, flips):
    path, _ = written(rows=large if size == "large" else None)
    whole = path.read_bytes()
    seal = whole.index(parquet.SEAL_KEY)
    edges = [0, len(whole) - 1, len(whole) - 5, seal, seal + 9, seal + 10, seal + 11, seal + 74, seal + 75]
    bits = [8 * byte + bit for byte in edges for bit in range(8)]
    bits += np.random.default_rng(5).integers(0, 8 * len(whole), flips - len(bits)).tolist()
    missed = [bit for bit in bits if parquet.seal_holds(io.BytesIO(_flip(whole, bit)))]
    assert len(bits) == flips
    assert missed == []


@pytest.mark.row("B2", control=True)
def test_readers_miss_flips_that_the_seal_finds(written, large):
    """The control: without a seal, DuckDB returns other numbers without an error for most flips."""
    path, _ = written(rows=large)
    whole, other = path.read_bytes(), path.with_name("other.parquet")
    bits = np.random.default_rng(6).integers(0, 8 * len(whole), 20)
    silent = 0
    for bit in bits:
        other.write_bytes(_flip(whole, int(bit)))
        try:
            silent += duckdb.sql(f"from '{path}' except from '{other}'").fetchall() != []
        except duckdb.Error:
            continue
    assert silent > 10


def _flip(whole: bytes, bit: int) -> bytes:
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_damaged_files_are_read_or_corrupt_but_never_a_crash(written):
    path, _ = written()
    whole = path.read_bytes()
    outcomes = {"corrupt": 0, "read": 0, "newer": 0}
    for bit in np.random.default_rng(7).integers(0, 8 * len(whole), 500).tolist():
        for read in (parquet.read_facts, parquet.read_rows):
            try:
                read(io.BytesIO(_flip(whole, bit)))
                outcomes["read"] += 1
            except CorruptError:
                outcomes["corrupt"] += 1
            except LakeError:
                outcomes["newer"] += 1  # the flip made a larger format of it
    assert min(outcomes["corrupt"], outcomes["read"]) > 100
    assert outcomes["newer"] < 5


def test_flips_in_pages_are_found_by_reading(written, large):
    """Page checksums: readers that do not ask for them return other rows, as the control above shows."""
    whole = written(rows=large)[0].read_bytes()
    pages = np.random.default_rng(8).integers(4 * len(whole), 7 * len(whole), 40).tolist()  # the second half: float16 pages
    for bit in pages:
        with pytest.raises(CorruptError, match="cannot be read"):
            parquet.read_rows(io.BytesIO(_flip(whole, bit)))


@pytest.mark.row("B1")
def test_every_truncation_breaks_the_seal_and_the_reading(written, large):
    for path, lengths in ((written()[0], 200), (written(rows=large, name="large.parquet")[0], 40)):
        whole = path.read_bytes()
        for length in {*np.linspace(0, len(whole) - 1, lengths).astype(int).tolist(), *range(len(whole) - 12, len(whole))}:
            assert not parquet.seal_holds(io.BytesIO(whole[:length]))
            with pytest.raises(CorruptError):
                parquet.read_facts(io.BytesIO(whole[:length]))


def test_appended_and_swapped_bytes_break_the_seal(written):
    whole = written()[0].read_bytes()
    other = written(Partition("margins", "half", "fit", 1), name="other.parquet")[0].read_bytes()
    assert not parquet.seal_holds(io.BytesIO(whole + b"\0"))
    assert not parquet.seal_holds(io.BytesIO(whole + whole[-8:]))
    joined = {whole[:cut] + other[cut:] for cut in range(0, len(whole), 100)} - {whole, other}
    assert len(joined) > 5
    assert not any(parquet.seal_holds(io.BytesIO(content)) for content in joined)


def test_bytes_are_the_same_when_written_twice(written, large, rows_of):
    one, two = (
        written(rows=large)[0],
        written(rows=pa.concat_tables([large.slice(0, 7), large.slice(7)]), name="two.parquet")[0],
    )
    assert one.read_bytes() == two.read_bytes()
    for table in TABLES:
        partition = Partition(table, "half", "fit", 0)
        assert (
            written(partition, name=f"{table}-1.parquet")[0].read_bytes()
            == written(partition, name=f"{table}-2.parquet")[0].read_bytes()
        )


def test_a_file_is_never_written_over(written):
    written()
    with pytest.raises(FileExistsError):
        written()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.case(18)
def test_encodings_are_those_that_every_reader_opens(written, rows_of, table):
    partition = Partition(table, "half", "fit", 0)
    path, _ = written(partition)
    metadata = pq.read_metadata(path)
    schema = pq.read_schema(path)
    for index in range(metadata.num_columns):
        column = metadata.row_group(0).column(index)
        kind = str(schema.field(column.path_in_schema.split(".")[0]).type)
        assert not ("BYTE_STREAM_SPLIT" in column.encodings and "halffloat" in kind)
        assert ("RLE_DICTIONARY" in column.encodings) == (kind == "string")
        assert column.compression == "ZSTD"
        assert column.has_offset_index
        assert column.has_column_index
    assert len(duckdb.sql(f"from '{path}'").fetchall()) == 3


def test_row_groups_are_those_of_the_table(written, large):
    metadata = pq.read_metadata(written(rows=large)[0])
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [64, 64, 2]


def test_a_table_without_rows_has_no_row_group(written, rows_of):
    path, facts = written(rows=rows_of(MARGINS).slice(0, 0))
    assert pq.read_metadata(path).num_row_groups == 0
    assert facts.rows == 0
    assert parquet.read_rows(path).schema == TABLES["margins"].schema
    with path.open("rb") as file:
        assert parquet.seal_holds(file)


def test_facts_take_part_in_the_seal_but_not_in_the_content(written):
    (one, a), (two, b) = written(seconds=1.0, name="one.parquet"), written(seconds=2.0, name="two.parquet")
    assert one.read_bytes() != two.read_bytes()
    assert a.content == b.content
    assert replace(a, seconds=2.0) == b
