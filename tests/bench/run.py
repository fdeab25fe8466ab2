"""`make bench`: ours against peers, each pair measured in this run on this machine, as ratios.

A ratio above 1 means ours is better. Times are CPU seconds of one core, medians over rounds in which ours and the peer take
turns, so that a busy machine slows both. The record is kept in tests/bench/results/<machine>.json with the date, so that
the history of a figure is the history of that file. `--only NAME` measures one of them.
"""

import argparse
import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
sys.path.insert(0, str(Path(__file__).parent))

import measure_regression
import measure_sharing
import measure_sql
import measure_storage
import measure_training
from rich.console import Console
from rich.table import Table
from timing import Row

BENCHES: dict[str, Callable[[], Row]] = {
    **measure_training.BENCHES,
    **measure_regression.BENCHES,
    **measure_storage.BENCHES,
    **measure_sql.BENCHES,
    **measure_sharing.BENCHES,
}


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--only", choices=sorted(BENCHES), nargs="*")
    parser.add_argument("--output", type=Path, help="where to keep the record; default tests/bench/results/<machine>.json")
    options = parser.parse_args()
    rows = []
    for name in options.only or BENCHES:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows.append({"name": name, **BENCHES[name]()})
    print(json.dumps(rows, indent=1) if options.format == "json" else "", end="")
    if options.format == "table":
        Console(width=150).print(as_table(rows))
    if not options.only:
        record(rows, options.output)


def as_table(rows: list[Row]) -> Table:
    """The rows for people."""
    table = Table("name", "ours", "peer", "peer is", "ratio", "unit", "note")
    for row in rows:
        table.add_row(
            row["name"],
            *(f"{row[k]:,.4g}" for k in ("ours", "peer")),
            row["peer_name"],
            f"{row['ratio']:.2f}",
            row["unit"],
            row.get("note", ""),
        )
    return table


def record(rows: list[Row], output: Path | None) -> None:
    """Write the rows with date and machine type."""
    processor = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor())
    machine = f"{processor} {platform.machine()}, {os.cpu_count()} cores"
    slug = re.sub("[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = output or Path(__file__).parent / "results" / f"{slug}.json"
    found = {"date": datetime.date.today().isoformat(), "machine": machine, "python": platform.python_version(), "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"recorded in {path}", file=sys.stderr)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
