"""Fewer classes and fewer images of a dataset: what a study file asks for with `classes`, `n_train` and `n_test`."""

import numpy as np
from numpy.typing import NDArray

from builders.study import Dataset
from builders.training.interface import Data
from lake.errors import UsageError


def subset(data: Data, dataset: Dataset) -> Data:
    """The images of the kept classes, then the first so many; UsageError when there are not so many classes or images."""
    names = data.class_names
    classes = dataset.classes or tuple(range(data.n_classes))
    if missing := [c for c in classes if c >= data.n_classes]:
        raise UsageError(f"dataset {dataset.source}: classes {missing} are not there; it has 0 to {data.n_classes - 1}")
    train = _split(data.train_images, data.train_labels, classes, dataset.n_train, "n_train", dataset.source)
    test = _split(data.test_images, data.test_labels, classes, dataset.n_test, "n_test", dataset.source)
    return Data(*train, *test, tuple(names[c] for c in classes))


def _split(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[int, ...], n: int | None, field: str, source: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    place = np.full(max(labels.max(), *classes) + 1, -1)
    place[list(classes)] = np.arange(len(classes))
    rows = np.flatnonzero(place[labels] >= 0)
    if n is not None and n > len(rows):
        raise UsageError(f"dataset {source}: {field} = {n}, but there are {len(rows)}")
    rows = rows[:n]
    whole = len(rows) == len(labels)
    return images if whole else images[rows], place[labels[rows]]
