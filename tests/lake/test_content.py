"""The content hash: the same for the same rows however they are laid out, different for any other rows."""

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lake.content import content_hash

HALVES = st.floats(width=16, allow_nan=False, allow_infinity=False).map(np.float16)
STRUCT = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
COLUMNS = {
    "id": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "share": (pa.float64(), st.floats(allow_nan=False)),
    "flag": (pa.bool_(), st.booleans()),
    "name": (pa.string(), st.text(st.characters(codec="utf-8"), max_size=4)),
    "mask": (pa.binary(), st.binary(max_size=4)),
    "margin": (pa.list_(pa.field("element", pa.float16())), st.lists(st.none() | HALVES, max_size=3)),
    "image": (
        STRUCT,
        st.fixed_dictionaries({"bytes": st.none() | st.binary(max_size=3), "path": st.none() | st.text("ab", max_size=2)}),
    ),
}


@st.composite
def tables(draw, min_rows=0):
    """A table with a column of every kind we store, nulls among the values."""
    rows = draw(st.integers(min_rows, 6))
    return pa.table(
        {
            name: pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
            for name, (kind, values) in COLUMNS.items()
        }
    )


@settings(max_examples=40)
@given(tables(), st.data())
def test_layout_in_memory_does_not_matter(table, data):
    cut = data.draw(st.integers(0, table.num_rows))
    pieces = [table.slice(0, cut), table.slice(0, 0), table.slice(cut)]
    padded = pa.concat_tables([table, table, table]).combine_chunks().slice(table.num_rows, table.num_rows)
    for other in (pa.concat_tables(pieces), padded, padded.combine_chunks(), table.replace_schema_metadata({"a": "b"})):
        assert content_hash(other) == content_hash(table)


@settings(max_examples=40)
@given(tables())
def test_encoding_in_a_file_does_not_matter(table):
    hashes = set()
    for options in ({"use_dictionary": True}, {"use_dictionary": False, "compression": "none"}, {"row_group_size": 1}):
        pq.write_table(table, sink := io.BytesIO(), **options)
        sink.seek(0)
        hashes.add(content_hash(pq.read_table(sink)))
    assert hashes == {content_hash(table)}


@settings(max_examples=40)
@given(tables(min_rows=1), st.data())
def test_any_changed_value_changes_the_hash(table, data):
    name = data.draw(st.sampled_from(list(COLUMNS)))
    row = data.draw(st.integers(0, table.num_rows - 1))
    kind, values = COLUMNS[name]
    cells = table[name].to_pylist()
    cells[row] = data.draw(st.none() | values)
    changed = table.set_column(table.column_names.index(name), name, pa.array(cells, kind))
    assume(not changed.equals(table))
    assert content_hash(changed) != content_hash(table)


@settings(max_examples=40)
@given(tables(min_rows=2))
def test_names_types_and_order_are_part_of_the_content(table):
    hashes = [content_hash(table)]
    hashes.append(content_hash(table.rename_columns(["other", *table.column_names[1:]])))
    hashes.append(content_hash(table.set_column(0, "id", table["id"].cast(pa.int64()))))
    hashes.append(content_hash(table.select(table.column_names[::-1])))
    hashes.append(content_hash(table.slice(1)))
    if not (turned := table.take(list(range(table.num_rows))[::-1])).equals(table):
        hashes.append(content_hash(turned))
    assert len(set(hashes)) == len(hashes)


def test_values_under_a_null_do_not_matter():
    for clean, dirty in _garbage_under_nulls():
        assert clean.equals(dirty)
        assert _one(clean) == _one(dirty)


def _garbage_under_nulls() -> Iterator[tuple[pa.Array, pa.Array]]:
    """Pairs of equal arrays of two rows, the second with other bytes below its NULL in row 1."""
    valid, ones = pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 99], np.int32))
    yield pa.array([1, None], pa.int32()), pa.Array.from_buffers(pa.int32(), 2, [valid, ones])
    yield pa.array([True, None]), pa.Array.from_buffers(pa.bool_(), 2, [valid, pa.py_buffer(b"\x03")])
    halves = pa.py_buffer(np.array([1, 99], np.float16))
    yield pa.array([np.float16(1), None], pa.float16()), pa.Array.from_buffers(pa.float16(), 2, [valid, halves])
    offsets = pa.py_buffer(np.array([0, 1, 3], np.int32))
    yield pa.array(["a", None]), pa.Array.from_buffers(pa.string(), 2, [valid, offsets, pa.py_buffer(b"abc")])
    values, mask = pa.array([1, 2, 3], pa.int32()), pa.array([False, True])
    yield (
        pa.array([[1], None], pa.list_(pa.int32())),
        pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), values, mask=mask),
    )
    yield (
        pa.array([{"x": 1}, None], pa.struct([("x", pa.int32())])),
        pa.StructArray.from_arrays([pa.array([1, 2], pa.int32())], names=["x"], mask=mask),
    )


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (pa.string(), ["ab", "c"], ["a", "bc"]),
        (pa.binary(), [b"", b"x"], [b"x", b""]),
        (pa.string(), [""], [None]),
        (pa.int32(), [0], [None]),
        (pa.bool_(), [False], [None]),
        (pa.list_(pa.float16()), [[]], [None]),
        (pa.list_(pa.int32()), [[1], [2]], [[1, 2], []]),
        (pa.list_(pa.int32()), [[0]], [[None]]),
        (STRUCT, [{"bytes": None, "path": None}], [None]),
        (STRUCT, [{"bytes": b"a", "path": None}], [{"bytes": None, "path": "a"}]),
        (pa.float64(), [0.1], [np.nextafter(0.1, 1)]),
    ],
)
def test_neighbours_are_told_apart(kind, one, other):
    assert _one(pa.array(one, kind)) != _one(pa.array(other, kind))


def test_empty_tables_differ_by_schema_only():
    empty = pa.table({name: pa.array([], kind) for name, (kind, _) in COLUMNS.items()})
    assert content_hash(empty) == content_hash(empty.schema.empty_table())
    assert content_hash(empty) != content_hash(empty.drop_columns("id"))
    assert content_hash(pa.table({})) != content_hash(empty)


def test_hash_is_pinned():
    """A change of the algorithm would turn every published partition into a conflict."""
    table = pa.table({"id": pa.array([1, None], pa.int32()), "m": pa.array([[np.float16(0.5)], None], pa.list_(pa.float16()))})
    assert content_hash(table) == "9e9e8096157baa51ef9031f6d33d8e44fdc9103ff7017c9af826972f1b915d12"


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.time32("s"), pa.date32(), pa.large_string(), pa.null(), pa.binary(2)])
def test_types_without_a_canonical_form_are_refused(kind):
    with pytest.raises(TypeError, match="no canonical form"):
        _one(pa.nulls(2, kind))


def _one(array: pa.Array) -> str:
    return content_hash(pa.table({"x": array}))
