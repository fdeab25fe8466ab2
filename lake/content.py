"""Content hash of a table: equal rows give equal hashes, whoever wrote them and however they were laid out in memory.

Parquet bytes change with the writer's version; rows do not. So identity is a SHA-256 over the column names, types, null
positions and values in row order. Values that hide under a null, buffer offsets, chunking and padding never enter.
"""

import hashlib

import numpy as np
import pyarrow as pa


def content_hash(table: pa.Table) -> str:
    """SHA-256 (hex) over the rows of `table` [n_rows, n_columns]: names, types, nulls and values, in order."""
    digest = hashlib.sha256(f"rows={table.num_rows}".encode())
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"\n{field.name}:{field.type}\n".encode())
        _hash_array(digest, column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
    return digest.hexdigest()


def _hash_array(digest: "hashlib._Hash", array: pa.Array) -> None:
    import pyarrow.compute as pc  # 40 ms that a look at a lake can spare

    digest.update(f"{len(array)},{array.null_count};".encode())
    if array.null_count:
        digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
    kind = array.type
    if pa.types.is_struct(kind):
        for child in array.flatten():
            _hash_array(digest, child)
    elif pa.types.is_list(kind):
        digest.update(_fixed(pc.list_value_length(array)))  # pyright: ignore[reportAttributeAccessIssue]
        _hash_array(digest, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        digest.update(_fixed(pc.binary_length(array)))  # pyright: ignore[reportAttributeAccessIssue]
        digest.update(_joined(array))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        digest.update(_fixed(array))
    else:
        raise TypeError(f"no canonical form for {kind}: use a number, boolean, string, binary, list or struct column")


def _fixed(array: pa.Array) -> bytes:
    """Values of a fixed-width array as little-endian bytes, zero where null."""
    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    values = array.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _joined(array: pa.Array) -> bytes:
    """The bytes of all non-null strings or blobs, one after another."""
    large = pa.large_binary() if pa.types.is_binary(array.type) else pa.large_string()
    dense = array.drop_null().cast(large)
    if not len(dense):
        return b""
    offsets = np.frombuffer(dense.buffers()[1], np.int64)[dense.offset : dense.offset + len(dense) + 1]
    return memoryview(dense.buffers()[2])[offsets[0] : offsets[-1]].tobytes() if offsets[-1] > offsets[0] else b""
