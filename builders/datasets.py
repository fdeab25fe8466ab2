"""Datasets by name: ordered images and labels in memory, and a digest that changes when a pixel, label or position does.

A shipped source has its digest pinned here, so a study on it can be planned without loading it, and a source whose images or
order changed under a known name is refused instead of mixed in. A new dataset is one function that returns Data, and one
line in SOURCES; a user's own is named as `module:function` in the study file.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from builders import counter
from builders.study import Dataset
from builders.training.interface import Data
from builders.training.registry import load_object
from lake.errors import UsageError


def digits() -> Data:
    """scikit-learn's 1,797 handwritten digits (8 x 8, 10 classes): 1,000 to train on and 797 to test on.

    The order is a fixed permutation; the 17 grey levels are spread over 0 to 255. Source: Alpaydin and Kaynak, Optical
    Recognition of Handwritten Digits, UCI (1998), as scikit-learn ships it.
    """
    from sklearn.datasets import load_digits

    raw: Any = load_digits()
    order = np.argsort(counter.words(0, "digits", np.arange(len(raw.target))))
    images = np.rint(raw.images[order] * 255 / 16).astype(np.uint8)[..., None]
    labels = raw.target[order].astype(np.int64)
    return Data(images[:1000], labels[:1000], images[1000:], labels[1000:], tuple(str(d) for d in range(10)))


SOURCES: dict[str, tuple[Callable[[], Data], str]] = {
    "digits": (digits, "ee37159952f1bbb9178c4b57c60a3eb1ca86ab912490c52ec4471e8e9b8f713d"),
}
"""Function and pinned digest of each shipped source."""

PINNED = {
    "digits": SOURCES["digits"][1],
    "digits-200-100": "dfc09937dee7555352458fc2c3675e5f1a02e16b23423619bb2bccf1a1a6637f",
}
"""Digests by dataset name, so that a plan needs no images."""


@lru_cache(maxsize=2)
def load(dataset: Dataset) -> Data:
    """Images and labels of a dataset, checked; UsageError when the source is unknown, damaged or not what its name pins."""
    if dataset.source in SOURCES:
        function, pinned = SOURCES[dataset.source]
        data = check(function(), dataset.source)
        if (got := digest_of(data)) != pinned:
            raise UsageError(
                f"dataset {dataset.source}: its images, labels or order changed (digest {got[:12]}, pinned {pinned[:12]})"
            )
    elif ":" in dataset.source:
        data = check(load_object(dataset.source)(), dataset.source)
    else:
        raise UsageError(
            f"no dataset {dataset.source!r}: shipped are {', '.join(SOURCES)}; or name a `module:function` of yours"
        )
    return check(_prefix(data, dataset), dataset.name)


def digest(dataset: Dataset) -> str:
    """SHA-256 (hex) of a dataset, from the pinned ones where possible."""
    return PINNED.get(dataset.name) or digest_of(load(dataset))


def digest_of(data: Data) -> str:
    """SHA-256 (hex) over both splits: shapes, labels and pixels in order, and the names of the classes."""
    found = hashlib.sha256("\n".join(data.class_names).encode())
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        found.update(f"{images.shape}".encode())
        found.update(labels.astype("<i8").tobytes())
        found.update(np.ascontiguousarray(images).data)
    return found.hexdigest()


def check(data: Data, name: str) -> Data:
    """`data`, or UsageError that says which rule it breaks: shapes, types, label range, number of classes."""
    if not isinstance(data, Data):
        raise UsageError(f"dataset {name}: returned a {type(data).__name__}; needed is builders.training.interface.Data")
    for split, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        where = f"dataset {name}, {split} split"
        for what, values in (("images", images), ("labels", labels)):
            if not isinstance(values, np.ndarray):
                raise UsageError(f"{where}: {what} are a {type(values).__name__}; needed are arrays of numpy")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2]:
            raise UsageError(f"{where}: images are {images.dtype} {images.shape}; needed are uint8 [n, side, side, channels]")
        if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
            raise UsageError(f"{where}: labels are {labels.dtype} {labels.shape}; needed are integers [{len(images)}]")
        if not len(labels) or labels.min() < 0 or labels.max() >= data.n_classes:
            got = f"{labels.min()} to {labels.max()}" if len(labels) else "none"
            raise UsageError(f"{where}: labels are {got}; needed are 0 to {data.n_classes - 1}, one a class name")
    if (test := data.test_images.shape[1:]) != (train := data.train_images.shape[1:]):
        raise UsageError(f"dataset {name}: test images are {test}, training images {train}; needed is one shape")
    if len(np.unique(data.train_labels)) < 2:
        raise UsageError(f"dataset {name}: one class only in the training split; a margin needs two")
    return data


def _prefix(data: Data, dataset: Dataset) -> Data:
    for split, asked, there in (
        ("n_train", dataset.n_train, len(data.train_labels)),
        ("n_test", dataset.n_test, len(data.test_labels)),
    ):
        if asked is not None and asked > there:
            raise UsageError(f"dataset {dataset.source}: {split} = {asked}, but there are {there}")
    n, t = dataset.n_train, dataset.n_test
    return Data(data.train_images[:n], data.train_labels[:n], data.test_images[:t], data.test_labels[:t], data.class_names)
