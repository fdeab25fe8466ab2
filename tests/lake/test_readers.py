"""Every reader we promise opens every table and returns the same rows: studies of two sizes, NULL margins, an empty file."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from lake.catalog import connect
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

Rows = list[dict[str, object]]


def by_view(lake: Lake, table: str) -> Rows:
    """The DuckDB view."""
    relation = connect(lake.root).sql(f"from {table}")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def by_duckdb_pattern(lake: Lake, table: str) -> Rows:
    """DuckDB over the folder, as somebody without this package would read it."""
    relation = duckdb.sql(f"from read_parquet('{lake.root}/{table}/**/*.parquet', hive_partitioning = true)")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def by_polars(lake: Lake, table: str) -> Rows:
    """Polars over the folder."""
    return pl.scan_parquet(lake.root / table, hive_partitioning=True).collect().to_dicts()


def by_dataset(lake: Lake, table: str) -> Rows:
    """pyarrow.dataset with hive keys."""
    return pa.dataset.dataset(lake.root / table, format="parquet", partitioning="hive").to_table().to_pylist()


def by_read_table(lake: Lake, table: str) -> Rows:
    """pyarrow's read_table of the folder."""
    return pq.read_table(lake.root / table).to_pylist()


def by_lake(lake: Lake, table: str) -> Rows:
    """Our own scan."""
    return lake.scan(lake.present(table)).to_pylist()


READERS: tuple[Callable[[Lake, str], Rows], ...] = (by_view, by_duckdb_pattern, by_polars, by_dataset, by_read_table, by_lake)


@pytest.fixture(scope="module")
def expected(sample: Lake) -> Callable[[str], Rows]:
    """Rows of a table as published, file by file, in the order of its sort key."""

    def rows(table: str) -> Rows:
        pieces = [pq.ParquetFile(sample.root / p.path).read().to_pylist() for p in sample.present(table)]
        return ordered([row for piece in pieces for row in piece], table)

    return rows


def ordered(rows: Rows, table: str) -> Rows:
    """The rows without the hive key, by owner and sort key."""
    spec = TABLES[table]
    kept = [{name: value for name, value in row.items() if name != spec.hive_key} for row in rows]
    return sorted(kept, key=lambda row: tuple(row[name] for name in (f"{spec.hive_key}_id", *spec.sort)))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.case(12, 18, 19, 20)
def test_every_reader_returns_the_same_rows(sample, expected, table, read):
    rows = read(sample, table)
    assert {*rows[0]} - {TABLES[table].hive_key} == {*TABLES[table].schema.names}
    assert ordered(rows, table) == expected(table)


def test_the_sample_has_what_breaks_readers(sample, expected):
    """The control: two widths of masks, a NULL margin, and a file without rows are really there."""
    assert {len(row["mask"]) for row in expected("masks")} == {2, 3}
    assert {row["test_margin"] is None for row in expected("margins")} == {True, False}
    empty = [p for p in sample.present("weights") if sample.read(p).num_rows == 0]
    assert empty == [Partition("weights", "other", "lasso-0018", 0)]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.case(52)
def test_the_library_of_the_hub_loads_every_table(sample, expected, table, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    files = sorted(map(str, Path(sample.root / table).rglob("*.parquet")))
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == TABLES[table].schema.names
    assert ordered(loaded.to_list(), table) == expected(table)


def test_a_table_of_empty_files_only_is_read_by_every_reader(lake, rows_of, facts_of):
    partition = Partition("weights", "half", "lasso", 0)
    lake.publish(partition, rows_of(partition).slice(0, 0), facts_of(partition))
    assert [read(lake, "weights") for read in READERS] == [[]] * len(READERS)


@pytest.mark.row("B6", control=True)
def test_a_leftover_in_a_table_folder_would_break_a_reader(sample_copy):
    """Why staging lies outside: the control of that decision."""
    (sample_copy.root / "masks/study=half/fit-00000.parquet.tmp").write_bytes(b"half a file")
    for read in (by_polars, by_dataset):
        with pytest.raises((pa.ArrowInvalid, pl.exceptions.PolarsError)):
            read(sample_copy, "masks")
    assert len(by_view(sample_copy, "masks")) == 12
