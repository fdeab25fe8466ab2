"""The table planted: the faults that a study's dataset was given on purpose (builders/faults.py)."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from builders import datasets
from builders.study import Study
from builders.unit import Unit
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "planted"
BUILDS: tuple[str, ...] = ("planted",)


def plan(study: Study) -> list[Unit]:
    """One partition for a dataset with planted faults."""
    return [Unit(NAME, (Partition(NAME, study.dataset.name, "faults", 0),))] if study.dataset.planted else []


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The faults, by position."""
    faults = datasets.faults_of(study.dataset)
    n = len(faults)
    columns = {
        "dataset_id": [study.dataset.name] * n,
        "split": ["train"] * n,
        "example_id": np.array([fault.train_id for fault in faults], np.int32),
        "kind": [fault.kind for fault in faults],
        "source_split": [fault.source_split for fault in faults],
        "source_id": [fault.source_id for fault in faults],
        "true_label": np.array([fault.true_label for fault in faults], np.int32),
    }
    yield unit.partitions[0], pa.table(columns, schema=TABLES[NAME].schema)
