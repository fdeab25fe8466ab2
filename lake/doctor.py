"""What a report of trouble should begin with: machine, versions, disk and device, and how the lake is.

Promises to change nothing and to read footers only, so that it can be run beside a build. It ends with the next sensible
command. `python -m lake doctor` prints it.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lake import machine, mirror_state
from lake.errors import CorruptError, LakeError
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.tables import FORMAT, TABLES

LIBRARIES = ("duckdb", "fsspec", "huggingface_hub", "numba", "numpy", "polars", "pyarrow", "pydantic", "scikit-learn", "torch")
LITTLE = 1_000_000_000
"""Bytes of free disk below which a warning is due: a study of 5,000 digits models takes about a tenth of it."""


def examine(lake: Lake) -> tuple[list[tuple[str, str]], str]:
    """Lines (what, how it is) about this machine and the lake, and the next sensible command."""
    health, advice = _health(lake)
    return [*_machine(), *_disk(lake), *health], advice


def _machine() -> list[tuple[str, str]]:
    return [
        ("system", f"{platform.platform()}, {machine.cores()} core(s), {machine.memory() / 1e9:.1f} GB memory"),
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("datamodels-lake", f"{_version('datamodels-lake')}, file format {FORMAT}"),
        ("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)),
        ("device", _device()),
    ]


def _disk(lake: Lake) -> list[tuple[str, str]]:
    if not isinstance(lake.root, Path):
        return [("disk", f"{lake.root} is not on this machine")]
    place = next(p for p in (lake.root, *lake.root.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    writable = "" if os.access(place, os.W_OK) else "; it cannot be written to: choose another folder with LAKE=..."
    return [("disk", f"{free / 1e9:,.1f} GB free at {place}{' (little)' if free < LITTLE else ''}{writable}")]


def _health(lake: Lake) -> tuple[list[tuple[str, str]], str]:
    """How the lake is, as far as names and footers tell."""
    if not lake.files.there():
        return [("lake", f"none in {lake.root}")], "make build-missing"
    try:
        listed = lake.files.list()
        present = {p: stat for table in TABLES for p, stat in lake.present(table).items()}
        lake.facts(present)
    except CorruptError as error:
        return [("lake", f"damaged: {error}")], "make verify QUARANTINE=1"
    except LakeError as error:
        return [("lake", f"cannot be read: {error}")], "make verify"
    foreign = sorted(path for path in listed if path.split("/")[0] in TABLES and parse_path(path) is None)
    size = sum(stat.size for stat in present.values())
    lines = [("lake", f"{len(present)} partition(s), {size / 1e6:,.1f} MB, {_owners(list(present))}")]
    lines += [("strangers", f"{len(foreign)} file(s) that no partition is called, first {foreign[0]!r}")] if foreign else []
    lines += [*_mirrors(lake, present), *_leftovers(lake)]
    return lines, "make verify" if foreign else "make status" if present else "make build-missing"


def _mirrors(lake: Lake, present: Iterable[Partition]) -> list[tuple[str, str]]:
    """How much of the lake outlives this machine."""
    paths = {partition.path for partition in present}
    known = mirror_state.mirrors(lake.files.cache)
    if not known and isinstance(lake.root, Path):
        return [("mirror", "none: what is here is only here; `make push REPO=owner/name` keeps it elsewhere")]
    return [
        ("mirror", f"{len(paths & there)} of {len(paths)} partition(s) were in {name} last time")
        for name, there in known.items()
    ]


def _leftovers(lake: Lake) -> list[tuple[str, str]]:
    """What was set aside, and what writers that died left; the next build sweeps the latter."""
    if not isinstance(lake.root, Path):
        return []
    kept = [path for path in (lake.root / ".quarantine").glob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in kept)
    staged = len(list((lake.root / ".staging").glob("*.lock")))
    lines = [("set aside", f"{len(kept)} file(s), {size / 1e6:,.1f} MB in {lake.root / '.quarantine'}: yours to delete")]
    return [*(lines if kept else []), *([("staging", f"{staged} writer(s) at work or dead")] if staged else [])]


def _owners(present: list[Partition]) -> str:
    studies = sorted({p.value for p in present if TABLES[p.table].hive_key == "study"})
    return f"studies: {', '.join(studies)}" if studies else "no study yet"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed: `make clean`, then any command makes the environment anew"


def _device() -> str:
    """The accelerator that the driver shows; torch, slow to import, is not asked."""
    shown = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return f"{len(shown)} CUDA device(s): {', '.join(shown)}" if shown else "cpu only"
