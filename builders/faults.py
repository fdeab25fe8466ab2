"""Faults put into a training split on purpose, and examples left out of it: a dataset made from another.

A planted fault is known, so what should find it can be judged: wrong labels, copies, copies with changed pixels, and test
images that leaked into training (Ilyas et al. 2022 section 4; Koh and Liang, arXiv 1703.04730, section 5.4). Labels change in
place, copies are added at the end, so all other examples keep their positions. Everything follows from the dataset, the
options and their seed (builders/counter.py).
"""

import csv
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builders import counter
from builders.study import Planted
from builders.training.interface import Data
from lake.errors import UsageError

NOISE = 12
"""Most that a pixel of a near copy changes, in grey levels of 256: less than one of the 17 levels of digits."""


class Fault(NamedTuple):
    """One planted fault: where it is, what it is, and the example that was copied, if one was."""

    train_id: int
    kind: str
    source_split: str | None
    source_id: int | None
    true_label: int


def plant(data: Data, planted: Planted) -> tuple[Data, list[Fault]]:
    """`data` with the faults, and a list of them by train_id; UsageError when there are too few examples to change."""
    n, n_test = len(data.train_labels), len(data.test_labels)
    needed = planted.labels + planted.copies + planted.near_copies
    if needed > n or planted.leaks > n_test:
        raise UsageError(f"planted: {needed} of {n} training and {planted.leaks} of {n_test} test examples are to be used")
    chosen = np.argsort(counter.words(planted.seed, "planted/train", np.arange(n)), kind="stable")[:needed]
    wrong, copied, near = np.split(chosen, np.cumsum([planted.labels, planted.copies]))
    leaked = np.argsort(counter.words(planted.seed, "planted/test", np.arange(n_test)), kind="stable")[: planted.leaks]
    labels = data.train_labels.copy()
    labels[wrong] = _other_class(planted.seed, wrong, labels[wrong], data.n_classes)
    faults = [Fault(int(i), "label", None, None, int(data.train_labels[i])) for i in np.sort(wrong)]
    images, new_labels = [data.train_images], [labels]
    for kind, ids, split in (("copy", copied, "train"), ("near-copy", near, "train"), ("leak", leaked, "test")):
        of_images, of_labels = getattr(data, f"{split}_images")[ids], getattr(data, f"{split}_labels")[ids]
        first = sum(map(len, new_labels))
        faults += [Fault(first + i, kind, split, int(ids[i]), int(of_labels[i])) for i in range(len(ids))]
        images.append(of_images if kind == "copy" else _blurred(planted.seed, kind, ids, of_images))
        new_labels.append(of_labels)
    return replace(data, train_images=np.concatenate(images), train_labels=np.concatenate(new_labels)), faults


def kept_ids(path: str, n_train: int) -> NDArray[np.int64]:
    """The train_ids [n_kept] of a keep-list, rising; UsageError when it cannot be read or names what is not there."""
    try:
        if path.endswith(".parquet"):
            found = pq.read_table(path, columns=["train_id"])["train_id"].to_pylist()
        else:
            with Path(path).open(newline="", encoding="utf-8") as lines:
                found = [int(row["train_id"]) for row in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UsageError(
            f"dataset.keep {path}: no list with a column train_id ({type(error).__name__}: {error}). "
            "`make query Q=keep_list FORMAT=csv > keep.csv` writes one"
        ) from error
    ids = np.array(sorted(found), np.int64)
    if not len(ids) or ids[0] < 0 or ids[-1] >= n_train or (np.diff(ids) == 0).any():
        raise UsageError(f"dataset.keep {path}: {len(ids)} train_ids; needed: one or more, all different, below {n_train}")
    return ids


def keep(data: Data, ids: NDArray[np.int64]) -> Data:
    """`data` with the training examples at `ids` [n_kept] only, which get new positions in their order."""
    return replace(data, train_images=data.train_images[ids], train_labels=data.train_labels[ids])


def moved(faults: list[Fault], ids: NDArray[np.int64]) -> list[Fault]:
    """The faults that are still there when only `ids` are kept, at their new positions."""
    place = {int(old): new for new, old in enumerate(ids)}
    return [fault._replace(train_id=place[fault.train_id]) for fault in faults if fault.train_id in place]


def _other_class(seed: int, ids: NDArray[np.int64], labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """For each label [n] one of the other classes, each as likely."""
    step = (counter.words(seed, "planted/label", ids) % np.uint64(n_classes - 1)).astype(np.int64) + 1
    return (labels + step) % n_classes


def _blurred(seed: int, kind: str, ids: NDArray[np.int64], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [n, side, side, channels] with every pixel moved by at most NOISE."""
    at = np.arange(int(np.prod(images.shape[1:])))
    word = counter.words(seed, f"planted/{kind}", ids[:, None], at[None])
    change = (word % np.uint64(2 * NOISE + 1)).astype(np.int64) - NOISE
    return np.clip(images.astype(np.int64) + change.reshape(images.shape), 0, 255).astype(np.uint8)
