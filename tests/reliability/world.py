"""What the suite's tests share: a deep check that counts bytes, a lake of masks, and a study that builds in half a second."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from builders import loop, study
from builders.progress import Progress
from builders.study import Study
from lake import verify
from lake.content import content_hash
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

ROOT = Path(__file__).parents[2]

SMALL = {
    "name": "small",
    "dataset": {"source": "digits", "n_train": 60, "n_test": 20},
    "algorithm": {"name": "patchnet", "widths": [4], "epochs": 2, "batch": 10},
    **{"models": 48, "pool": 4, "heldout_masks": 4, "heldout_repeats": 4, "partition_models": 16},
    **{"curve": [32], "estimators": ["lasso", "difference"]},
}
"""48 models in 3 partitions and 4 x 4 held-out ones in a fourth: 15 partitions of 6 tables."""


def audit(lake: Lake, hashed: Callable[[int], None] = lambda size: None) -> list[verify.Problem]:
    """Every problem of the deep check; `hashed` hears of the bytes."""
    return verify.verify(lake, deep=True, tell=lambda path, size: hashed(size))


def masks(index: int, alpha: float = 0.5, n_masks: int = 3) -> tuple[Partition, pa.Table, Facts]:
    """A partition of few small masks, the same for the same arguments."""
    partition = Partition("masks", "half", "fit", index)
    bits = np.random.default_rng(index).integers(0, 256, (n_masks, 8), np.uint8)
    ids = range(n_masks * index, n_masks * index + n_masks)
    columns = [["half"] * n_masks, ["fit"] * n_masks, ids, [alpha] * n_masks, ["fixed"] * n_masks, [b.tobytes() for b in bits]]
    schema = TABLES["masks"].schema
    rows = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    return partition, rows, Facts("masks", "half", "fit", index, fingerprint("half"), {"name": "half"}, code="0.1.0")


def content(index: int, alpha: float = 0.5) -> str:
    """Content hash of those masks."""
    return content_hash(masks(index, alpha)[1])


def stored(lake: Lake) -> dict[str, str]:
    """Content hash of every partition, from its rows, by path."""
    every = [p for table in TABLES for p in lake.present(table)]
    return {p.path: content_hash(lake.read(p)) for p in every}


def small(**changes: object) -> Study:
    """The small study with other top-level fields."""
    return study.parse({**SMALL, **changes}, "small.toml")


def small_toml(folder: Path, **changes: object) -> Path:
    """The small study with other top-level fields, as a file in `folder`."""
    fields = {**SMALL, **changes}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if not isinstance(value, dict)]
    for name, table in ((n, t) for n, t in fields.items() if isinstance(t, dict)):
        lines += [f"[{name}]", *(f"{option} = {json.dumps(value)}" for option, value in table.items())]
    (folder / "small.toml").write_text("\n".join(lines))
    return folder / "small.toml"


def build(lake: Lake, chosen: Study, **options: object) -> loop.Report:
    """Build what is missing in this process, without a word."""
    return loop.build_missing(lake, chosen, loop.Options(**options), Progress(quiet=True))


BY_WORKERS = """
from builders import loop
loop.QUICK_SECONDS = 0.0  # else this process would do sooner what is small
from builders.__main__ import app
from lake.cli import run
run(app)
"""
"""For `start("-c", BY_WORKERS, "build-missing", ...)`: what `-m builders` does, with the engine's workers for everything."""


def start(*arguments: object, environment: dict[str, str] | None = None, **options: object) -> subprocess.Popen[str]:
    """Start `python ARGUMENTS` with this tree in its path, in a process group of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} if environment is None else environment
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        **{
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "start_new_session": True,
            "env": env,
            **options,
        },
    )


@contextmanager
def frozen(root: Path) -> Iterator[list[Path]]:
    """The folders and files below `root`, for a test that nothing outside a lake moves; checked at the end."""
    before = {path: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}
    yield list(before)
    assert {path: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))} == before
