"""DuckDB views: typed when empty, described, opened from anywhere, and shut to everything that is not the lake."""

import os
import shutil
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from lake.catalog import CATALOG, DERIVED, connect, write_catalog
from lake.errors import CorruptError, LakeError, UsageError
from lake.partition import Partition
from lake.reading import only_reads
from lake.store import Lake
from lake.tables import TABLES

MASKS = Partition("masks", "half", "fit", 0)
COLUMNS = "select table_name, column_name, data_type from duckdb_columns() where not internal order by all"


def test_every_table_is_a_typed_empty_view_on_an_empty_lake(lake):
    connection = connect(lake.root)
    for name, spec in TABLES.items():
        relation = connection.sql(f"from {name}")
        assert relation.fetchall() == []
        assert relation.columns == spec.schema.names
    for name in ("partitions", *DERIVED):
        assert connection.sql(f"from {name}").fetchall() == []
    assert not lake.root.exists()


def test_types_are_the_same_when_filled_in_part_or_not_at_all(lake, sample_copy, rows_of, facts_of):
    filled = connect(sample_copy.root).sql(COLUMNS).fetchall()
    assert len(filled) > sum(len(spec.columns) for spec in TABLES.values())
    assert connect(lake.root).sql(COLUMNS).fetchall() == filled
    lake.publish(MASKS, rows_of(MASKS), facts_of(MASKS))
    assert connect(lake.root).sql(COLUMNS).fetchall() == filled
    empty = Partition("weights", "half", "lasso", 0)
    lake.publish(empty, rows_of(empty).slice(0, 0), facts_of(empty))
    assert connect(lake.root).sql(COLUMNS).fetchall() == filled
    with duckdb.connect(write_catalog(sample_copy.root), read_only=True) as shell:
        assert shell.sql(COLUMNS).fetchall() == filled


def test_views_and_columns_say_what_they_are(lake):
    connection = connect(lake.root)
    views = dict(connection.sql("select view_name, comment from duckdb_views() where not internal").fetchall())
    assert all(comment and comment.startswith("one row is ") for comment in views.values())
    assert {*TABLES, *DERIVED, "partitions"} <= views.keys()
    said = connection.sql("select table_name, column_name, comment from duckdb_columns() where not internal").fetchall()
    comments = {(table, column): comment for table, column, comment in said}
    for spec in TABLES.values():
        for column in spec.columns:
            assert column.meaning in comments[spec.name, column.name]
            assert column.unit in comments[spec.name, column.name]


def test_partitions_are_described_from_their_footers(sample):
    sql = 'select table_name, study_id, role, "index", rows, fingerprint, content, file_name from partitions order by file_name'
    rows = connect(sample.root).sql(sql).fetchall()
    every = {p: stat for table in TABLES for p, stat in sample.present(table).items()}
    expected = [
        (p.table, p.value, p.role, p.index, f.rows, f.fingerprint, f.content, str(sample.root / p.path))
        for p, f in sorted(sample.facts(every).items(), key=lambda item: item[0].path)
    ]
    assert rows == expected


def test_a_connection_sees_the_files_that_were_there_when_it_was_made(sample_copy, rows_of, facts_of):
    later = replace(MASKS, index=7)
    connection = connect(sample_copy.root)
    sample_copy.publish(later, rows_of(later), facts_of(later))
    assert connection.execute("select count(*) from masks").fetchone() == (12,)
    assert connect(sample_copy.root).execute("select count(*) from masks").fetchone() == (15,)


def test_the_catalog_file_opens_elsewhere_and_sees_later_files(sample_copy, rows_of, facts_of, tmp_path, monkeypatch):
    monkeypatch.chdir(sample_copy.root.parent)
    path = write_catalog(sample_copy.root.name)
    assert path.name == CATALOG
    written = (sample_copy.root / CATALOG).read_bytes()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    later = replace(MASKS, index=7)
    sample_copy.publish(later, rows_of(later), facts_of(later))
    with duckdb.connect(sample_copy.root / CATALOG, read_only=True) as shell:
        assert shell.execute("select count(*) from masks").fetchone() == (15,)
        assert shell.execute("select count(*) from partitions where table_name = 'masks'").fetchone() == (5,)
        assert shell.execute("select included('\\x80'::blob, 0), included('\\x80'::blob, 1)").fetchone() == (True, False)
    assert (sample_copy.root / CATALOG).read_bytes() == written
    assert list(tmp_path.glob("elsewhere/*")) == []


def test_the_catalog_file_is_written_again_and_leaves_nothing_beside_it(sample_copy, lake):
    listed = set(os.listdir(sample_copy.root))
    for _ in range(2):
        write_catalog(sample_copy.root)
    assert set(os.listdir(sample_copy.root)) == listed | {CATALOG, ".staging"}
    assert os.listdir(sample_copy.root / ".staging") == []
    write_catalog(lake.root)
    with duckdb.connect(lake.root / CATALOG, read_only=True) as shell:
        assert shell.sql("from masks").fetchall() == []


def test_a_folder_in_the_place_of_the_catalog_file_is_told_and_left(sample_copy):
    (sample_copy.root / CATALOG / "mine").mkdir(parents=True)
    with pytest.raises(LakeError, match=f"{CATALOG} is a folder: move it away") as error:
        write_catalog(sample_copy.root)
    assert "\n" not in str(error.value)
    assert (sample_copy.root / CATALOG / "mine").is_dir()
    assert list((sample_copy.root / ".staging").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1torn", b"<html>"], ids=repr)
def test_a_damaged_file_is_named_by_every_way_in(sample_copy, content):
    (sample_copy.root / MASKS.path).write_bytes(content)
    with pytest.raises(CorruptError, match=rf"{MASKS.path}.*make verify"):
        connect(sample_copy.root)
    with pytest.raises(LakeError, match=MASKS.path):
        write_catalog(sample_copy.root)
    assert os.listdir(sample_copy.root / ".staging") == []


def test_bits_are_those_of_unpackbits(lake, rows_of, facts_of):
    n_train = 21
    rows = rows_of(MASKS, n_train)
    lake.publish(MASKS, rows, facts_of(MASKS))
    packed = np.array([np.frombuffer(mask, np.uint8) for mask in rows["mask"].to_pylist()])
    expected = np.unpackbits(packed, axis=1, count=n_train).astype(bool)
    for bit in ("included(mask, train_id)", "get_bit(mask::bit, train_id::integer) = 1"):
        sql = f"select mask_id, list({bit} order by train_id) from masks, range({n_train}) as t(train_id) group by all order by all"
        assert np.array_equal([found for _, found in connect(lake.root).sql(sql).fetchall()], expected)


# ---- locked connections


@pytest.fixture(scope="module")
def locked(sample):
    """A locked connection to the filled lake."""
    return connect(sample.root, locked=True)


@pytest.fixture(scope="module")
def guarded(sample, tmp_path_factory):
    """A folder with a lake and a secret, a locked connection, and a function that tells whether any file changed."""
    folder = tmp_path_factory.mktemp("guarded")
    lake = Lake(shutil.copytree(sample.root, folder / "lake"))
    (folder / "secret.csv").write_text("word\nsesame\n")
    (lake.root / "notes.csv").write_text("a\n1\n")

    def snapshot():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = snapshot()
    return folder, connect(lake.root, locked=True), lambda: snapshot() == before


OUTSIDE = {
    "read_text": "from read_text('{out}/secret.csv')",
    "read_text inside": "from read_text('{lake}/notes.csv')",
    "read_blob": "from read_blob('{out}/secret.csv')",
    "read_csv": "from read_csv('{out}/secret.csv')",
    "a file as a table": "from '{out}/secret.csv'",
    "read_parquet": "from read_parquet('{out}/*.parquet')",
    "sniff_csv": "from sniff_csv('{out}/secret.csv')",
    "glob": "from glob('{out}/*')",
    "glob inside": "from glob('{lake}/*')",
    "dots": "from read_text('{lake}/masks/../../secret.csv')",
    "a URL": "from read_csv('http://127.0.0.1:9/secret.csv')",
    "s3": "from read_parquet('s3://bucket/secret.parquet')",
    "copy to": "copy (select 1) to '{out}/new.csv'",
    "copy to inside": "copy (select 1) to '{lake}/masks/new.csv'",
    "copy over": "copy (select 1) to '{lake}/{masks}'",
    "copy from": "copy masks from '{out}/secret.csv'",
    "export": "export database '{lake}/export'",
    "attach": "attach '{out}/new.duckdb' as new",
    "attach inside": "attach '{lake}/new.duckdb' as new",
    "install": "install httpfs",
    "load": "load httpfs",
    "load a file": "load '{out}/evil.duckdb_extension'",
    "set": "set threads = 1",
    "unlock": "set lock_configuration = false",
    "allow": "set allowed_directories = ['/']",
    "external access": "set enable_external_access = true",
    "reset": "reset enable_external_access",
    "pragma": "pragma threads = 1",
    "logging": "call enable_logging(storage = 'file', storage_path = '{out}/log')",
    "copy in a CTE": "with c as (copy (select 1) to '{out}/new.csv') select 1",
    "copy in a CTE inside": "with c as (copy (select 1) to '{lake}/new.csv') select 1",
    "explained copy": "explain analyze copy (select 1) to '{lake}/new.csv'",
}


@pytest.mark.parametrize("what", OUTSIDE)
@pytest.mark.row("B11")
def test_a_locked_connection_reaches_nothing_but_its_partitions(guarded, what):
    folder, connection, unchanged = guarded
    with pytest.raises(duckdb.Error):
        connection.execute(OUTSIDE[what].format(lake=folder / "lake", out=folder, masks=MASKS.path)).fetchall()
    assert unchanged()
    assert connection.execute("select count(*) from masks").fetchone() == (12,)


@pytest.mark.row("B11", control=True)
def test_the_same_statements_work_unlocked(sample_copy, tmp_path):
    """The control: refusals above come from the lock and not from a mistake in the statement."""
    (tmp_path / "secret.csv").write_text("word\nsesame\n")
    (sample_copy.root / "notes.csv").write_text("a\n1\n")
    connection = connect(sample_copy.root)
    for what in (
        "read_text",
        "read_csv",
        "glob",
        "dots",
        "sniff_csv",
        "copy to inside",
        "attach inside",
        "export",
        "set",
        "copy in a CTE",
    ):
        connection.execute(OUTSIDE[what].format(lake=sample_copy.root, out=tmp_path, masks=MASKS.path)).fetchall()
    assert (sample_copy.root / "masks/new.csv").exists()


def test_a_locked_connection_answers_every_view(sample, locked):
    connection = connect(sample.root)
    for name in ("partitions", *DERIVED, *TABLES):
        sql = f"from {name} order by all"
        assert locked.sql(sql).fetchall() == connection.sql(sql).fetchall()


READS = (
    *(
        "select 1",
        "from masks",
        "select count(*) from masks;",
        "-- a comment\nselect 1",
        "values (1)",
        "table masks",
        "show tables",
    ),
    *("with a as (select 1 as x), b as (from a) select * from b", "select 1 union all select 2 order by 1", "describe masks"),
    *("with recursive n as (select 1 as i union all select i + 1 from n where i < 3) from n", "summarize fits"),
    """select '"type":"COPY_QUERY_NODE"' as copy""",
    "select * from masks where role = $role",
    "select * from range(3), unnest([1, 2]), query_table('masks')",
)
WRITES = (
    *(
        "",
        ";",
        "-- nothing",
        "select 1; select 2",
        "select 1; drop view masks",
        "drop view masks",
        "create table t as select 1",
    ),
    *(
        "create view masks as select 1",
        "insert into masks select * from masks",
        "update masks set alpha = 1",
        "delete from masks",
    ),
    *(
        "copy (select 1) to 'x.csv'",
        "attach ':memory:' as m",
        "detach m",
        "set threads = 1",
        "pragma threads = 1",
        "call pragma_version()",
    ),
    *(
        "install httpfs",
        "load httpfs",
        "begin",
        "checkpoint",
        "vacuum",
        "use memory",
        "prepare p as select 1",
        "export database 'x'",
    ),
    *(
        "explain select 1",
        "explain analyze select 1",
        "explain analyze copy (select 1) to 'x.csv'",
        "import database 'x'",
        "analyze",
    ),
    "with c as (copy (select 1) to 'x.csv') select 1",
    "with a as (select 1), c as (copy (select 1) to 'x.csv') select * from a",
    "select * from (with c as (copy (select 1) to 'x.csv') select 1)",
    "with c as (with d as (copy (select 1) to 'x.csv') select 1) select 1",
    "select (with c as (insert into t values (1) returning *) select * from c)",
    "with c as (insert into t values (1) returning *) select * from c",
    "with c as (delete from t returning *) select * from c",
    "with c as (update t set a = 1 returning *) from c",
    "select 1 union all (with c as (copy (select 1) to 'x.csv') select 1)",
    "from json_execute_serialized_sql(json_serialize_sql('with c as (copy (select 1) to ''x.csv'') select 1'))",
    """select * from masks, lateral (from system.main."Query"('select 1'))""",
    "select 1 where 1 in (from query('from json_execute_serialized_sql(json_serialize_sql(''select 1''))'))",
    "from enable_logging(storage = 'stdout')",
    "from checkpoint()",
)


@pytest.mark.parametrize("sql", READS)
def test_statements_that_read_are_let_through_unchanged(locked, sql):
    assert only_reads(locked, sql) == sql


@pytest.mark.row("B11")
@pytest.mark.parametrize("sql", WRITES)
def test_anything_but_one_select_is_refused(locked, sql):
    with pytest.raises(UsageError, match="one SELECT statement is allowed here, got "):
        only_reads(locked, sql)


def test_a_cte_that_copies_would_replace_a_partition(sample_copy):
    """The control of `only_reads`: DuckDB runs this SELECT, even on a locked connection."""
    before = (sample_copy.root / MASKS.path).read_bytes()
    sql = f"with c as (copy (select 1) to '{sample_copy.root / MASKS.path}' (use_tmp_file false)) select 1"
    connection = connect(sample_copy.root, locked=True)
    connection.execute(sql)
    assert (sample_copy.root / MASKS.path).read_bytes() != before
    with pytest.raises(UsageError, match="got select, copy"):
        only_reads(connection, sql)
    (sample_copy.root / MASKS.path).write_bytes(before)
    handed = "from json_execute_serialized_sql(json_serialize_sql('{}'))".format(sql.replace("'", "''"))
    connection.execute(handed).fetchall()
    assert (sample_copy.root / MASKS.path).read_bytes() != before
    with pytest.raises(UsageError, match="calls json_execute_serialized_sql"):
        only_reads(connection, handed)


def test_names_of_python_variables_are_not_tables(sample, locked):
    masked = sample.read(MASKS)
    assert masked.num_rows == 3
    with pytest.raises(duckdb.Error, match="masked"):
        locked.execute("from masked")


def test_the_root_of_a_connection_is_a_lake_even_when_there_is_none(tmp_path):
    assert connect(tmp_path / "nowhere", locked=True).execute("select count(*) from margins").fetchone() == (0,)
    assert Lake(tmp_path / "nowhere").files.list() == {}
    assert not (tmp_path / "nowhere").exists()
