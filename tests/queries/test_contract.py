"""What every query file keeps: the header, the form of its SQL, and an answer of no rows from an empty lake."""

import re

import duckdb
import pytest

from lake import connect
from lake.catalog import DERIVED, MACROS, STEPS, write_catalog
from lake.reading import only_reads
from lake.tables import TABLES
from queries.header import COLUMN_TYPES
from queries.run import CHECKS, FOLDER, bind, run, shipped

QUERIES = list(shipped().values())
KNOWN = {*TABLES, *DERIVED, *STEPS, "partitions"}
GIVEN = {"target_id": "0", "study": "digits"}
NASTY = ["'; drop view masks; --", "$k?{study}%s", '\\["', "\0", "", "é" * 5_000]


def given(query):
    """Values for the parameters of a query that have no default."""
    return {param.name: GIVEN[param.name] for param in query.params if param.default is None}


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A locked connection to a lake with nothing in it."""
    return connect(tmp_path_factory.mktemp("none") / "lake", locked=True)


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_file_keeps_the_form(query):
    lines = query.sql.splitlines()
    body = [line for line in lines if not line.startswith("--")]
    plain = re.sub(r"'[^']*'", "''", "\n".join(body))
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 150
    assert plain == plain.lower()
    assert body[-1 if not body[-1].startswith("    ") else -2].startswith("order by ")
    assert not re.search(r"select \*|\{|\}|;", plain.replace("(select *, ", "("))


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_header_is_complete(query):
    assert query.question.endswith("?")
    assert all(param.meaning and re.search(rf"\${param.name}\b", query.sql) for param in query.params)
    assert set(re.findall(r"\$(\w+)", query.sql)) == {param.name for param in query.params}
    assert {"study"} <= {param.name for param in query.params}
    assert query.columns
    assert all(column.type in COLUMN_TYPES and column.meaning for column in query.columns)
    assert not query.rows.endswith(".")


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_tables_are_known_and_named_in_the_header(query):
    steps = set(re.findall(r"^\s*(?:with )?(\w+) as (?:materialized )?\($|, (\w+) as \(", query.sql, re.M))
    read = set(re.findall(r"(?<!distinct )\b(?:from|join) (\w+)", re.sub(r"^--.*", "", query.sql, flags=re.M))) - {
        name for pair in steps for name in pair
    }
    assert read
    assert read <= KNOWN
    assert read <= set(re.findall(r"\w+", query.tables))


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_empty_lake_gives_no_rows_with_the_columns_of_the_header(query, empty):
    rows = run(empty, query, given(query))
    assert rows.num_rows == 0
    assert rows.column_names == [column.name for column in query.columns]


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
@pytest.mark.row("B10")
def test_sql_in_a_parameter_is_inert(query, empty):
    texts = [param.name for param in query.params if param.type == "text"]
    for text in NASTY if query.theme != CHECKS else NASTY[:3]:
        assert run(empty, query, given(query) | dict.fromkeys(texts, text)).num_rows == 0
    assert empty.execute("select count(*) from masks").fetchone() == (0,)


def test_queries_run_by_hand_in_a_shell_on_the_catalog_file(tmp_path):
    path = write_catalog(tmp_path / "lake")
    with duckdb.connect(str(path), read_only=True) as shell:
        for query in QUERIES:
            assert shell.execute(only_reads(shell, query.sql), bind(query, given(query))).fetchall() == []


def test_names_are_unique_and_words_are_plain():
    paths = list(FOLDER.rglob("*.sql"))
    assert len(paths) == len(QUERIES) >= 25
    assert all(re.fullmatch("[a-z][a-z_]*", path.stem) for path in paths)
    assert not {path.stem for path in paths} & {signature.partition("(")[0] for signature in MACROS}
