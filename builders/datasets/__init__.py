"""Datasets by name: ordered images and labels in memory, and a digest that changes when a pixel, label or position does.

A shipped source has its digest pinned here, so a study on it can be planned without loading it, and a source whose images or
order changed under a known name is refused instead of mixed in. A new shipped dataset is one module whose `load` returns
Data, and one line in SOURCES. Others are named in the study file: `hub:owner/name`, `torchvision:NAME`, `folder:path`, or a
user's own `module:function`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from builders import faults
from builders.datasets import cache, cifar10, digits, hub, vision
from builders.datasets.subsets import subset
from builders.study import Dataset
from builders.training.interface import Data
from builders.training.registry import load_object
from lake.errors import UsageError


@dataclass(frozen=True)
class Source:
    """A shipped dataset: how it is loaded, its digest, how many training and test images, whether decoded ones are kept."""

    load: Callable[[], Data]
    digest: str
    sizes: tuple[int, int]
    kept: bool = False


SOURCES: dict[str, Source] = {
    "digits": Source(digits.load, "ee37159952f1bbb9178c4b57c60a3eb1ca86ab912490c52ec4471e8e9b8f713d", (1_000, 797)),
    "cifar10": Source(
        cifar10.load, "dbce77647b10397be720ecfa883af788c54ceb610829d4e2f3f9e711403cffad", (50_000, 10_000), kept=True
    ),
}
"""The shipped datasets by name."""

UNKNOWN_SIZES = (10_000, 2_000)
"""Images of a dataset of which nothing is known."""

FORMS: dict[str, Callable[[str, int | None], Data]] = {
    "hub": hub.from_hub,
    "torchvision": vision.from_torchvision,
    "folder": lambda path, side: vision.from_folder(Path(path).expanduser(), side),
}
"""How `form:name` is loaded: functions of the name and the side to resize to."""

PINNED = {
    **{name: source.digest for name, source in SOURCES.items()},
    "digits-200-100": "dfc09937dee7555352458fc2c3675e5f1a02e16b23423619bb2bccf1a1a6637f",
    "cifar10-c0-c1-2000-400": "16354d8580d22d5c3f96e05ee7f07a506f1e5ccdf9b754126910365004a83fe2",
}
"""Digests by dataset name, so that a plan needs no images."""


@lru_cache(maxsize=2)
def load(dataset: Dataset) -> Data:
    """Images and labels of a dataset, checked; UsageError when the source is unknown, damaged or not what its name pins."""
    return check(_changed(dataset)[0], dataset.name)


def faults_of(dataset: Dataset) -> list[faults.Fault]:
    """The planted faults that are in a dataset, by train_id."""
    return _changed(dataset)[1]


def _changed(dataset: Dataset) -> tuple[Data, list[faults.Fault]]:
    """The source as the study asks for it: some of its images, faults planted, examples left out; and the faults that stay."""
    data, planted = subset(check(_whole(dataset), dataset.source), dataset), []
    if dataset.planted:
        data, planted = faults.plant(data, dataset.planted)
    if dataset.keep:
        ids = faults.kept_ids(dataset.keep, len(data.train_labels))
        data, planted = faults.keep(data, ids), faults.moved(planted, ids)
    return data, planted


def _whole(dataset: Dataset) -> Data:
    form, _, name = dataset.source.partition(":")
    if form in FORMS and name:
        return FORMS[form](name, dataset.side)
    if dataset.side is not None:
        raise UsageError(f"dataset {dataset.source}: side is for {', '.join(f'{f}:' for f in FORMS)} sources; leave it out")
    if dataset.source in SOURCES:
        return _shipped(dataset.source)
    if ":" in dataset.source:
        return load_object(dataset.source)()
    raise UsageError(
        f"no dataset {dataset.source!r}: shipped are {', '.join(SOURCES)}; or name hub:owner/name, torchvision:NAME, "
        "folder:path, or a `module:function` of yours"
    )


def _shipped(name: str) -> Data:
    """A shipped dataset, from the cache if what is there has the pinned digest."""
    source = SOURCES[name]
    kept = cache.recall(name) if source.kept else None
    if kept is not None and digest_of(kept) == source.digest:
        return kept
    data = check(source.load(), name)
    if (got := digest_of(data)) != source.digest:
        raise UsageError(
            f"dataset {name}: its images, labels or order changed (digest {got[:12]}, pinned {source.digest[:12]})"
        )
    if source.kept:
        cache.keep(name, data)
    return data


def sizes(dataset: Dataset) -> tuple[int, int]:
    """Training and test images that a dataset is expected to have, without loading it; some, where nothing is known."""
    whole = SOURCES[dataset.source].sizes if dataset.source in SOURCES else UNKNOWN_SIZES
    return dataset.n_train or whole[0], dataset.n_test or whole[1]


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
