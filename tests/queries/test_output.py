"""Rows as table, JSON, CSV and parquet."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.errors import UsageError
from queries.output import cell, write

ROWS = pa.table({"name": ["a,b", 'q"uote', None], "n": pa.array([1, 2, 3], pa.int32()), "x": [0.123456, None, 1e-9]})


def test_json_is_a_list_of_objects_with_null(capfdbinary):
    write(ROWS, "json")
    assert json.loads(capfdbinary.readouterr().out) == ROWS.to_pylist()


def test_json_of_no_rows_is_an_empty_list(capfdbinary):
    write(ROWS.slice(0, 0), "json")
    assert json.loads(capfdbinary.readouterr().out) == []


def test_csv_and_parquet_read_back(tmp_path, capfdbinary):
    write(ROWS, "parquet", str(tmp_path / "rows.parquet"))
    assert pq.read_table(tmp_path / "rows.parquet") == ROWS
    write(ROWS, "parquet")
    assert pq.read_table(io.BytesIO(capfdbinary.readouterr().out)) == ROWS
    write(ROWS, "csv", str(tmp_path / "rows.csv"))
    assert (tmp_path / "rows.csv").read_text().splitlines()[:2] == ['"name","n","x"', '"a,b",1,0.123456']


def test_table_shows_forty_rows_then_how_many_more(capfdbinary):
    write(pa.table({"train_id": range(1_050)}), "table")
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert [lines[0].split(), lines[40].split()] == [["train_id"], ["39"]]
    assert lines[41:] == ["... and 1,010 more rows: --format csv gives all"]


def test_table_is_never_folded_off_screen_and_markup_is_text(capfdbinary):
    write(pa.table({f"column_{i}": ["[bold]x[/bold]" * 3] for i in range(30)}), "table")
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert len(lines) == 2
    assert lines[1].count("[bold]x[/bold]") == 90


def test_cells():
    assert [cell(value) for value in (None, 0.123456, 12, "x", True)] == ["", "0.1235", "12", "x", "True"]


def test_wrong_format_unwritable_file_and_parquet_on_a_screen_are_usage_errors(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="choose table, json, csv, parquet"):
        write(ROWS, "xml")
    with pytest.raises(UsageError, match="cannot write"):
        write(ROWS, "json", str(tmp_path / "no" / "folder.json"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(UsageError, match="not for a screen"):
        write(ROWS, "parquet")
