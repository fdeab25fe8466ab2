"""Answers of shipped queries for one study, each asked once however many pages show it."""

from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from queries.header import Query
from queries.provenance import Provenance, provenance
from queries.run import run, shipped

Row = dict[str, Any]


@dataclass
class Answers:
    """The queries of a study on one connection; `kept` holds what was asked already, by query and parameters."""

    connection: duckdb.DuckDBPyConnection
    study: str
    kept: dict[tuple[Any, ...], pa.Table] = field(default_factory=dict)

    def table(self, name: str, **given: Any) -> pa.Table:
        """Rows of the shipped query `name` [n_rows, n_columns]; a table without columns when no such query is shipped."""
        query = shipped().get(name)
        return self.of(query, **given) if query else pa.table({})

    def of(self, query: Query, **given: Any) -> pa.Table:
        """Rows of a query; its parameter `study` is filled in."""
        texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in given.items()}
        texts |= {param.name: self.study for param in query.params if param.name == "study"}
        key = (query.name, *sorted(texts.items()))
        if key not in self.kept:
            self.kept[key] = run(self.connection, query, texts)
        return self.kept[key]

    def rows(self, name: str, **given: Any) -> list[Row]:
        """The same as dicts; none when no such query is shipped or the lake has no answer."""
        return self.table(name, **given).to_pylist()

    def provenance(self) -> Provenance:
        """Revision of the lake and fingerprint of the study."""
        return provenance(self.connection, self.study)


def grouped(rows: list[Row], *names: str) -> dict[Any, list[Row]]:
    """Rows by the value of a column, or by the tuple of several, in their order."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        key = row[names[0]] if len(names) == 1 else tuple(row[name] for name in names)
        groups.setdefault(key, []).append(row)
    return groups
