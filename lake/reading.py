"""Which statements of a stranger only read: one SELECT, whose table functions are known to do no more.

The lock of a connection (lake.catalog) leaves one thing open: DuckDB knows no read-only file, so what may be read may be
replaced by COPY. In DuckDB 2 a CTE may copy, and a table function may run SQL that is handed over as text, where no parse
tree shows it; so table functions are let through by name.
"""

import re

import duckdb

from lake.catalog import STEPS
from lake.errors import UsageError

_READING = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")
"""Nodes of a parsed query that only read."""
TABLE_FUNCTIONS = (
    *("duckdb_columns", "duckdb_functions", "duckdb_settings", "duckdb_tables", "duckdb_types", "duckdb_views"),
    *("generate_series", "json_each", "json_tree", "parquet_file_metadata", "parquet_kv_metadata", "parquet_metadata"),
    *("parquet_schema", "pragma_table_info", "pragma_version", "query_table", "range", "read_parquet", "repeat", "unnest"),
)
"""Those of DuckDB that read, and run nothing; the lake's own macros are let through as well."""


def only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """`sql` if it is one SELECT that reads; UsageError names what else it is.

    `with c as (copy ... to ...) select 1` is a SELECT, and EXPLAIN ANALYZE runs what it explains; so the parse tree is asked,
    and EXPLAIN is refused. `from json_execute_serialized_sql(...)` runs any SQL that its text holds.
    """
    kinds = [statement.type.name for statement in connection.extract_statements(sql)]
    called: set[str] = set()
    if kinds == ["SELECT"]:
        [(tree,)] = connection.execute("select json_serialize_sql(?)::varchar", [sql]).fetchall()
        nodes = re.findall(r'"type":"(\w+_NODE)"', tree) or ["unknown"]
        kinds += [node.removesuffix("_QUERY_NODE") for node in nodes if node not in _READING]
        called = {name.lower() for name in re.findall(r'"type":"TABLE_FUNCTION".*?"function_name":"(.*?)"', tree, re.S)}
    if kinds != ["SELECT"]:
        raise UsageError(f"one SELECT statement is allowed here, got {', '.join(kinds).lower() or 'nothing'}")
    if strange := sorted(called - {*TABLE_FUNCTIONS, *STEPS}):
        raise UsageError(f"one SELECT statement is allowed here, got one that calls {', '.join(strange)}")
    return sql
