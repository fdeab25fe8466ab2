"""Shared fixtures: a few rows for every table, and small lakes made of them."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

os.environ.update(  # the Hub's client reads its settings when it is imported
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    HF_HOME=tempfile.mkdtemp(),
)
sys.path[:0] = [str(Path(__file__).parent / folder) for folder in ("lake", "reliability")]  # the fake Hub; the plugins
pytest_plugins = ["closing_line", "local_slurm"]

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of a run in the background: what is started here would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup: what is started here is to hear it, and this run to go on
    signal.signal(signal.SIGHUP, lambda number, frame: None)

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")

N_TRAIN = {"half": 12, "other": 21}
"""Training examples of the two studies of the sample lake: their masks take 2 and 3 bytes."""


def make_rows(partition: Partition, n_train: int = 12) -> pa.Table:
    """Three rows of the partition's table, of its owner and role; the second of `margins` has NULL margins."""
    value, role = partition.value, partition.role
    rng = np.random.default_rng([partition.index, n_train, *value.encode(), *role.encode()])
    ids = [3 * partition.index + i for i in range(3)]
    halves = [rng.normal(0, 4, n).astype(np.float16).tolist() for n in (3, 3, n_train, n_train)]
    fit = {"study_id": value, "fit": f"lasso-0{role[-4:]}", "split": "test"}
    columns = {
        "examples": {
            **{"dataset_id": value, "split": ["test", "train", "train"], "example_id": [0, 0, 1], "label": [2, 0, 1]},
            "image": [{"bytes": b"\x89PNG" + rng.bytes(9), "path": None} for _ in ids],
            "image_sha256": [rng.bytes(32).hex() for _ in ids],
        },
        "masks": {
            **{"study_id": value, "role": role, "mask_id": ids, "alpha": 0.5, "design": "fixed"},
            "mask": [np.packbits(rng.random(n_train) < 0.5).tobytes() for _ in ids],
        },
        "margins": {
            **{"study_id": value, "role": role, "model_id": ids, "mask_id": ids, "init_id": [0, 1, 2], "repeat": 0},
            **{"status": ["ok", "diverged", "ok"], "test_accuracy": [0.5, None, 0.75], "train_accuracy": [1.0, None, 0.25]},
            **{"test_margin": [halves[0], None, halves[1]], "train_margin": [halves[2], None, halves[3]]},
        },
        "fits": {
            **{**fit, "estimator": "lasso", "target_id": ids, "lam": [0.01, None, 0.02], "bias": [0.5, -1.25, 2.0]},
            **{"mean_margin": rng.normal(size=3), "n_models": 9, "n_nonzero": [2, 0, 1], "validation_r": [0.5, None, 0.25]},
            **{"kkt": [1e-9, None, 1e-8], "duality_gap": [1e-7, None, 1e-6], "converged": [True, False, True]},
        },
        "weights": {**fit, "target_id": ids, "train_id": [4, 0, 1], "weight": rng.normal(size=3)},
        "predictions": {**fit, "mask_id": ids, "predicted_margin": [rng.normal(size=3).tolist() for _ in ids]},
        "planted": {
            **{"dataset_id": value, "split": "train", "example_id": ids, "kind": ["label", "copy", "leak"]},
            **{"source_split": [None, "train", "test"], "source_id": [None, 0, 1], "true_label": [2, 0, 1]},
        },
        "neighbours": {
            **{"dataset_id": value, "split": ["test", "train", "train"], "example_id": [0, 0, 1], "rank": 1},
            **{"train_id": [1, 1, 0], "distance": [0.5, 0.25, 0.25]},
        },
        "scores": {
            **{"study_id": value, "method": role, "split": "test", "target_id": ids, "train_id": [4, 0, 1]},
            "score": rng.normal(size=3),
        },
        "components": {
            **{"study_id": value, "role": role, "embedding": ["features", "weights", "weights"], "component": [0, 0, 1]},
            **{"explained": [1.0, 0.75, 0.25], "test_score": [None, [0.5, -0.5, 0.0], None]},
            **{"train_loading": [None, rng.normal(size=n_train).tolist(), None], "fit": "lasso-0018"},
            **dict.fromkeys(("other_study", "other_fit", "own_explained", "other_explained"), [None] * 3),
        },
        "clusters": {
            **{"study_id": value, "role": role, "within": ["all", "all", "class"], "split": ["test", "train", "test"]},
            **{"example_id": [0, 1, 0], "cluster": [0, 0, 1], "similarity": [0.75, 0.5, 1.0], "fit": "lasso-0018"},
        },
        "interventions": {
            **{"study_id": value, "role": role, "removal_id": [i + 1 for i in ids], "component": [None, 0, 0]},
            **{"side": ["random", "high", "low"], "k": 2, "removed": [[4, 0], [0, 1], [1, 2]], "fit": "lasso-0018"},
        },
        "supports": {
            **{
                "study_id": value,
                "role": role,
                "target_id": ids,
                "method": "pixels",
                "change": ["removal"] * 2 + ["relabelling"],
            },
            **{"step": ids, "size": [0, 1, 2], "confirming": [False, False, True], "changed": [[], [4], [0, 5]]},
            **{"label": [None, None, 3], "predicted_margin": [1.5, -0.5, None], "margins": [[1.5, 2.0], [-0.5, 0.25], []]},
            **{"flips": [False, True, False], "fit": "lasso-0018"},
        },
        "removals": {
            **{
                "study_id": value,
                "role": role,
                "removal_id": [i + 1 for i in ids],
                "target_id": ids,
                "method": "datamodel",
                "k": 2,
            },
            **{
                "removed": [[4, 0], [0, 1], [1, 2]],
                "predicted_change": rng.normal(size=3),
                "curved_change": rng.normal(size=3),
            },
            **{"algorithm": ["logistic", None, None], "fit": "lasso-0018"},
        },
    }[partition.table]
    spec = TABLES[partition.table].schema
    filled = {name: v if isinstance(v, list | np.ndarray) else [v] * 3 for name, v in columns.items()}
    return pa.table([pa.array(filled[f.name], f.type) for f in spec], schema=spec)


def make_facts(partition: Partition, **changed: object) -> Facts:
    """Facts of a partition whose study is described by its name alone."""
    identity = {"name": partition.value}
    own = (partition.table, partition.value, partition.role, partition.index)
    return Facts(*own, **{"fingerprint": fingerprint(identity), "identity": identity, "code": "0.1.0", **changed})


def fill(lake: Lake) -> Lake:
    """Publish two studies with all tables, two files a table and study, one of the `weights` files without a row."""
    partitions = [Partition("examples", "pixels", "images", 0)]
    for table in ("masks", "margins"):
        partitions += [Partition(table, s, role, 0) for s in N_TRAIN for role in ("fit", "heldout")]
    for table in ("fits", "weights", "predictions"):
        partitions += [Partition(table, s, role, 0) for s in N_TRAIN for role in ("lasso-0009", "lasso-0018")]
    partitions += [Partition("removals", s, "removal-1", 0) for s in N_TRAIN]
    partitions += [Partition("supports", s, "support-1", 0) for s in N_TRAIN]
    for table, role in (("components", "structure-1"), ("clusters", "structure-1"), ("interventions", "component-1")):
        partitions += [Partition(table, s, role, 0) for s in N_TRAIN]
    partitions += [Partition("planted", "pixels", "faults", 0), Partition("neighbours", "pixels", "pixels", 0)]
    partitions += [Partition("scores", s, "trak", 0) for s in N_TRAIN]
    for p in partitions:
        rows = make_rows(p, N_TRAIN.get(p.value, 12))
        empty = p == Partition("weights", "other", "lasso-0018", 0)
        lake.publish(p, rows.slice(0, 0) if empty else rows, make_facts(p))
    return lake


@pytest.fixture
def rows_of() -> Callable[..., pa.Table]:
    """`make_rows`, for tests."""
    return make_rows


@pytest.fixture
def facts_of() -> Callable[..., Facts]:
    """`make_facts`, for tests."""
    return make_facts


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake whose folder is not there yet."""
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The filled lake, shared: to be read only."""
    lake = fill(Lake(tmp_path_factory.mktemp("sample") / "lake"))
    before = lake.files.list()
    yield lake
    if lake.files.list() != before:
        pytest.fail("a test wrote into the shared lake: use sample_copy")


@pytest.fixture
def sample_copy(sample: Lake, tmp_path: Path) -> Lake:
    """The filled lake, to be damaged."""
    return Lake(shutil.copytree(sample.root, tmp_path / "copy"))
