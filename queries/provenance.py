"""Where numbers come from: the lake's revision and the fingerprint of each study, for query results and for pages.

The revision is a hash over the content hashes of all partitions, so it is the same for every copy of a lake, whatever disk
or mirror it lies on, and another as soon as one row is. Which fit a number is from is a column of the query itself.
"""

import hashlib
import json
from dataclasses import dataclass

import duckdb
import pyarrow as pa


@dataclass(frozen=True)
class Provenance:
    """Revision of a lake (12 hex digits) and the fingerprints of its studies by name."""

    revision: str
    fingerprints: dict[str, str]

    def __str__(self) -> str:
        studies = ", ".join(f"{name} (fingerprint {value})" for name, value in self.fingerprints.items())
        return f"lake revision {self.revision}; {studies or 'no study yet'}"


def stamped(rows: pa.Table, found: Provenance) -> pa.Table:
    """The rows [n_rows, n_columns] with their provenance in the schema's metadata, which a parquet file keeps."""
    return rows.replace_schema_metadata({"lake_revision": found.revision, "fingerprints": json.dumps(found.fingerprints)})


def provenance(connection: duckdb.DuckDBPyConnection, study: str | None = None) -> Provenance:
    """Provenance of what the connection sees now; of one study where it is named."""
    files = connection.execute(
        "select table_name, study_id, role, index, content from partitions order by table_name, study_id, role, index"
    ).fetchall()
    named = connection.execute(
        "select study_id, fingerprint from studies where $1 is null or study_id = $1 order by study_id", [study]
    ).fetchall()
    return Provenance(hashlib.sha256(repr(files).encode()).hexdigest()[:12], dict(named))
