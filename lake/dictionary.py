"""The data dictionary as Markdown, made from lake/tables.py: README and the dataset card hold what this prints."""

from lake.schema import Table
from lake.tables import TABLES


def markdown() -> str:
    """One section a table: what a row is, how it is sorted, and every column with type, unit and meaning."""
    return "\n\n".join(_section(table) for table in TABLES.values())


def _section(table: Table) -> str:
    lines = [
        f"**{table.name}**: one row is {table.row}; sorted by {', '.join(table.sort)}; folders `{table.hive_key}=...`.",
        "",
        "| column | type | meaning |",
        "| --- | --- | --- |",
    ]
    for column in table.columns:
        meaning = column.meaning + (f" [{column.unit}]" if column.unit else "") + ("; may be NULL" if column.nullable else "")
        kind = str(column.type).replace("element: ", "").replace(" not null", "").replace("halffloat", "float16")
        lines.append(f"| {column.name} | {kind} | {meaning} |")
    return "\n".join(lines)
