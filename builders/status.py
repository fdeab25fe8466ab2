"""What a study has and what it still costs: the answer of `make status`, as data and as a table for people.

JSON contract: {"study", "fingerprint", "lake", "tables": [{"table", "planned", "present", "missing", "failed", "rows",
"bytes", "predicted_seconds", "predicted_bytes"}], "failures": [...]}. planned, present and missing count partitions; failed
counts rows whose status is not `ok`; rows and bytes are of what is present; predicted_* are of what is missing, for one
worker, and 0 where little is expected.
"""

from typing import Any

from rich import box
from rich.table import Table as RichTable

from builders import datasets
from builders.plan import BUILDERS, Inventory, take_inventory
from builders.study import DENSE, Study
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES


def status(lake: Lake, study: Study) -> dict[str, Any]:
    """The state of every table of a study; ConflictError when the lake holds another study under its name."""
    inventory = take_inventory(lake, study)
    planned: dict[str, set[Partition]] = {table: set() for table in TABLES}
    for partition in (p for units in inventory.units.values() for unit in units for p in unit.partitions):
        planned[partition.table].add(partition)
    tables = [_table_status(inventory, study, table, planned[table]) for table in TABLES]
    failed = [p for p, facts in inventory.facts.items() if facts.n_failed]
    return {
        "study": study.name,
        "fingerprint": study.fingerprint(datasets.digest(study.dataset)),
        "lake": str(lake.root),
        "tables": tables,
        "failures": [failure for p in failed for failure in _failures(lake, p)],
    }


def as_table(found: dict[str, Any]) -> RichTable:
    """The same for people, in 80 columns: tables that are planned or there; failures and what is left where there are any."""
    table = RichTable(
        title=f"study {found['study']} in {found['lake']}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown = [row for row in found["tables"] if row["planned"] or row["rows"]]
    failed, left = (any(row[name] for row in shown) for name in ("failed", "missing"))
    names = (
        "table",
        "present",
        "missing",
        *(["failed"] if failed else []),
        "rows",
        "bytes",
        *(["to do", "to store"] if left else []),
    )
    for name in names:
        table.add_column(name, justify="left" if name == "table" else "right", no_wrap=True)
    for row in shown:
        cells = {
            "table": row["table"],
            **{name: f"{row[name]:,}" for name in ("present", "missing", "failed")},
            "rows": count(row["rows"]),
            "bytes": size(row["bytes"]),
            "to do": duration(row["predicted_seconds"]) if row["predicted_seconds"] else "",
            "to store": size(row["predicted_bytes"]) if row["predicted_bytes"] else "",
        }
        table.add_row(*(cells[name] for name in names))
    return table


def count(number: int) -> str:
    """A number for people: `12,000`, `6.8 M`."""
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:,.1f} M"


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3.5 min`, `7.2 h`."""
    return (
        f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
    )


def size(n_bytes: float) -> str:
    """Bytes for people: `512 B`, `1.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:,.0f} B" if unit == "B" else f"{n_bytes:,.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"


def _table_status(inventory: Inventory, study: Study, table: str, planned: set[Partition]) -> dict[str, Any]:
    present = planned & inventory.files.keys()
    stored = sum(inventory.files[p].size for p in present)
    seconds = sum(inventory.predicted_seconds(b.NAME, study) for b in BUILDERS if b.BUILDS[-1] == table)
    return {
        "table": table,
        "planned": len(planned),
        "present": len(present),
        "missing": len(planned) - len(present),
        "failed": sum(inventory.facts[p].n_failed for p in present),
        "rows": sum(inventory.facts[p].rows for p in present),
        "bytes": stored,
        "predicted_seconds": round(seconds, 2),
        "predicted_bytes": _predicted_bytes(study, planned - present, stored, len(present)),
    }


def _predicted_bytes(study: Study, missing: set[Partition], stored: int, present: int) -> int:
    """Bytes that the missing partitions will take: as those present, or from the sizes of the study."""
    mean = stored / present if present else None
    return round(sum(_expected_bytes(study, partition) if mean is None else mean for partition in missing))


def _expected_bytes(study: Study, partition: Partition) -> float:
    """Bytes of a partition by its rows and columns, measured on digits; 0 for tables that are small beside these."""
    n, t = datasets.sizes(study.dataset)
    targets = n + t if partition.index == study.models else t  # a fit on fewer models is of test targets alone
    match partition.table:
        case "masks":
            return study.partition_models * n / 8
        case "margins":
            return study.partition_models * 2 * (n + t)
        case "fits":
            return 36 * targets
        case "predictions":
            return 4 * study.heldout_masks * targets
        case "weights":
            return 4 * targets * (n if partition.role in DENSE else min(n, partition.index) / 3)
    return 0


def _failures(lake: Lake, partition: Any) -> list[dict[str, Any]]:
    rows = lake.read(partition, ["model_id", "mask_id", "status"]).to_pylist()
    return [{"partition": partition.path, **row} for row in rows if row["status"] != "ok"]
