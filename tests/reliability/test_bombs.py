"""B13: few bytes that would fill the memory, footers that lie, and answers without end are refused early."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import ROOT, masks

from lake import parquet
from lake.errors import CorruptError
from lake.partition import Partition
from lake.tables import TABLES

READ = """
import json, re, sys, time
from lake.catalog import connect
from lake.store import Lake
from lake.verify import verify
lake = Lake(sys.argv[1])
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
before, began = peak(), time.process_time()
problems = [str(problem) for problem in verify(lake, deep=True)]
print(json.dumps({"problems": problems, "grew": peak() - before, "seconds": time.process_time() - began}))
"""
NAMES = {table: Partition(table, "half", "fit", 0) for table in ("masks", "margins")}


def write(path: Path, rows: pa.Table, table: str) -> None:
    """A sealed file of any rows under the name of a partition, all in one row group of dictionary pages."""
    partition, (_, _, facts) = NAMES[table], masks(0)
    own = parquet.Facts(**{**vars(facts), "table": table, "rows": rows.num_rows, "content": "0" * 64})
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = rows.schema
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=True, store_schema=False) as writer:
        writer.add_key_value_metadata({"lake": own.to_json(), "lake.seal": "0" * 64})
        writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    assert own.partition == partition
    parquet._seal(path)


def many_rows() -> tuple[str, pa.Table]:
    """5 million equal rows: 300 MB."""
    schema, n = TABLES["masks"].schema, 5_000_000
    row = masks(0)[1].slice(0, 1).to_pylist()[0]
    return "masks", pa.table([pa.repeat(pa.scalar(row[f.name], f.type), n) for f in schema], schema=schema)


def long_words() -> tuple[str, pa.Table]:
    """2,000 roles of one megabyte each, all the same: 2 GB when they are unpacked."""
    schema, n = TABLES["masks"].schema, 2_000
    row = {**masks(0)[1].slice(0, 1).to_pylist()[0]}
    columns = [pa.repeat(pa.scalar(row[f.name], f.type), n) for f in schema]
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * 1_000_000]))
    at = schema.get_field_index("role")
    columns[at] = words
    return "masks", pa.table(columns, schema=schema.set(at, pa.field("role", words.type, nullable=False)))


def long_lists() -> tuple[str, pa.Table]:
    """1,500 models with 100,000 equal margins each: 300 MB."""
    schema, n, width = TABLES["margins"].schema, 1_500, 100_000
    given = {"study_id": "half", "role": "fit", "status": "ok", "test_accuracy": 0.5, "train_accuracy": 0.5}
    columns = []
    for field in schema:
        if pa.types.is_list(field.type):
            columns.append(
                pa.ListArray.from_arrays(
                    pa.array(np.arange(n + 1, dtype=np.int32) * width),
                    pa.array(np.zeros(n * width, np.float16)),
                    type=field.type,
                )
                if field.name == "test_margin"
                else pa.nulls(n, field.type)
            )
        else:
            columns.append(pa.repeat(pa.scalar(given.get(field.name, 0), field.type), n))
    return "margins", pa.table(columns, schema=schema)


def refused(folder: Path) -> str:
    """What a deep check of a lake with one bad file says of it, within 512 MB and 10 s of processor time, as B13 has it."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True, cwd=ROOT, timeout=100
    )
    found = json.loads(done.stdout)
    assert found["grew"] < 512
    assert found["seconds"] < 10
    [problem] = found["problems"]
    return problem


@pytest.fixture
def lake_with(lake):
    """Puts a file of such rows into the lake, as (table, rows); how many bytes it takes."""

    def put(table: str, rows: pa.Table) -> int:
        path = lake.root / NAMES[table].path
        write(path, rows, table)
        return path.stat().st_size

    return put


@pytest.mark.row("B13")
@pytest.mark.case(59)
def test_equal_words_that_open_to_gigabytes_are_refused(lake, lake_with, tally):
    assert lake_with(*long_words()) < 20_000
    assert "too much for its size" in refused(lake.root)
    tally(bad_tried=1, refused=1)


@pytest.mark.slow
@pytest.mark.row("B13")
@pytest.mark.case(59)
@pytest.mark.parametrize("bomb", [many_rows, long_lists])
def test_rows_and_lists_that_open_to_gigabytes_are_refused(lake, lake_with, tally, bomb):
    assert lake_with(*bomb()) < 3_000_000
    assert "for its size" in refused(lake.root)
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B13", control=True)
def test_a_reader_without_bounds_unpacks_them(lake, lake_with):
    lake_with(*long_words())
    path = lake.root / NAMES["masks"].path
    first = next(pq.ParquetFile(path).iter_batches(300, columns=["role"]))
    assert first.nbytes >= 300_000_000
    assert path.stat().st_size < 20_000


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


@pytest.mark.row("B13")
def test_a_footer_that_claims_a_trillion_rows_is_refused_at_once(lake, tally):
    partition, rows, facts = masks(0)
    path = lake.root / partition.path
    path.parent.mkdir(parents=True)
    parquet.write(rows, TABLES["masks"], facts, path)
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8]
    assert footer.count(b"\x16\x06\x19") == 1  # field num_rows of the file: 3, then the list of row groups
    footer = footer.replace(b"\x16\x06\x19", b"\x16" + varint(2 * 10**12) + b"\x19")
    path.write_bytes(data[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(CorruptError, match=r"claims 1,000,000,000,000 rows"):
        parquet.read_rows(path)
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B13")
@pytest.mark.slow
def test_very_many_row_groups_and_deep_nesting_are_refused(lake, tally):
    partition = NAMES["masks"]
    path = lake.root / partition.path
    path.parent.mkdir(parents=True)
    kind = pa.int32()
    for _ in range(200):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"a": pa.nulls(3, kind)}), path)
    assert path.name in refused(lake.root)
    path.unlink()
    with pq.ParquetWriter(path, schema := pa.schema([("a", pa.int32())])) as writer:
        for _ in range(20_000):
            writer.write_table(pa.table({"a": pa.array([1], pa.int32())}, schema=schema))
    assert path.name in refused(lake.root)
    tally(bad_tried=2, refused=2)
