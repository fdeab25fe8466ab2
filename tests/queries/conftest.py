"""Lakes worked by hand: rows as short dicts, defaults filled in, one partition an owner and role."""

import re
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake import Lake, connect
from lake.parquet import Facts
from lake.partition import Partition
from lake.tables import TABLES
from queries.run import find, run

Row = dict[str, Any]

IDENTITY = {"dataset": {"name": "pixels", "digest": "0"}, "alpha": 0.5, "design": "fixed", "margin": "max"}

DEFAULTS: dict[str, Row] = {
    "examples": {
        "dataset_id": "pixels",
        "split": "train",
        "label": 0,
        "image": {"bytes": b"", "path": None},
        "image_sha256": "0",
    },
    "masks": {"study_id": "toy", "role": "fit", "alpha": 0.5, "design": "fixed"},
    "margins": {
        **{"study_id": "toy", "role": "fit", "init_id": 0, "repeat": 0, "status": "ok"},
        **{"test_accuracy": None, "train_accuracy": None, "test_margin": None, "train_margin": None},
    },
    "fits": {
        **{"study_id": "toy", "fit": "lasso-00004", "estimator": "lasso", "split": "test", "lam": 0.1, "bias": 0.0},
        **{
            "mean_margin": 0.0,
            "n_models": 4,
            "n_nonzero": 1,
            "validation_r": 0.5,
            "kkt": 1e-9,
            "duality_gap": 1e-9,
            "converged": True,
        },
    },
    "weights": {"study_id": "toy", "fit": "lasso-00004", "split": "test"},
    "predictions": {"study_id": "toy", "fit": "lasso-00004", "split": "test"},
    "removals": {
        "study_id": "toy",
        "fit": "lasso-00004",
        "k": 1,
        "method": "datamodel",
        "removed": [0],
        "algorithm": None,
    },
    "supports": {
        **{
            "study_id": "toy",
            "role": "support",
            "method": "datamodel",
            "change": "removal",
            "confirming": False,
            "changed": [],
        },
        **{"label": None, "predicted_margin": None, "fit": "lasso-00004"},
    },
    "components": {
        **{"study_id": "toy", "role": "structure", "embedding": "weights", "fit": "lasso-00004", "explained": 0.5},
        **dict.fromkeys(("test_score", "train_loading", "other_study", "other_fit", "own_explained", "other_explained")),
    },
    "clusters": {
        **{"study_id": "toy", "role": "structure", "within": "all", "split": "test", "similarity": 0.5},
        "fit": "lasso-00004",
    },
    "interventions": {
        **{"study_id": "toy", "role": "component", "component": None, "side": "random", "k": 1, "fit": "lasso-00004"},
    },
    "scores": {"study_id": "toy", "method": "trak", "split": "test"},
    "neighbours": {"dataset_id": "pixels", "split": "train", "rank": 1},
    "planted": {
        **{"dataset_id": "pixels", "split": "train", "kind": "label", "true_label": 0},
        **{"source_split": None, "source_id": None},
    },
}


_NUMBERED = re.compile(r"(.+)-(\d{5})")


def bits(text: str) -> bytes:
    """A packed mask from a text such as `1100`."""
    return np.packbits([int(c) for c in text]).tobytes()


def publish(
    lake: Lake, table: str, rows: list[Row], identity: Row = IDENTITY, fingerprint: str = "f1", first: int = 0, **told: Any
) -> None:
    """Publish rows of one table, a partition an owner and role (or fit), in key order, with further facts as `told`."""
    spec, parts = TABLES[table], defaultdict(list)
    for row in ({**DEFAULTS[table], **row} for row in rows):
        if isinstance(row.get("mask"), str):
            row["mask"] = bits(row["mask"])
        parts[row[spec.columns[0].name], row.get("role") or row.get("fit") or row.get("method") or "images"].append(row)
    for (value, role), found in parts.items():
        found.sort(key=lambda row: tuple(row[name] for name in spec.sort))
        columns = [pa.array([row[f.name] for row in found], f.type) for f in spec.schema]
        role, index = _NUMBERED.fullmatch(role).groups() if table in ("fits", "weights", "predictions") else (role, 0)
        index = int(index) + first
        n_failed = sum(r.get("status", "ok") != "ok" for r in found)
        facts = Facts(table, value, role, index, fingerprint, identity, n_failed=n_failed, **told)
        lake.publish(Partition(table, value, role, index), pa.table(columns, schema=spec.schema), facts)


@pytest.fixture
def lake_of(tmp_path: Path) -> Callable[..., Lake]:
    """A function from rows by table to a new lake that holds them."""
    numbers = count()

    def make(**tables: list[Row]) -> Lake:
        lake = Lake(tmp_path / f"lake{next(numbers)}")
        for table, rows in tables.items():
            publish(lake, table, rows)
        return lake

    return make


@pytest.fixture(scope="session")
def ask() -> Callable[..., list[Row]]:
    """A function from lake, query name and parameters to the rows of the query."""

    def rows(lake: Lake, name: str, **given: object) -> list[Row]:
        return run(connect(lake.root, locked=True), find(name), {key: str(value) for key, value in given.items()}).to_pylist()

    return rows


@pytest.fixture(scope="session")
def add() -> Callable[..., None]:
    """`publish`, for tests."""
    return publish
