"""The table neighbours: for each image the training images that look most like it, whatever a model makes of them.

Copies whose pixels changed a little cannot be found by a hash, and SQL can neither decode PNG nor compare 50,000 images with
each other, so the nearest of each are kept. Images are shrunk to at most SIDE x SIDE pixels and brought to mean 0 and length 1:
the distance is then blind to brightness, contrast and fine noise. The mirror image counts as the image itself. What this finds
among changes of many kinds is in DECISIONS.md.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import datasets
from builders.study import Study
from builders.unit import Unit
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "neighbours"
BUILDS: tuple[str, ...] = ("neighbours",)

SIDE = 8
NEAREST = 10
"""Neighbours that are kept of each image."""
BLOCK = 500
"""Images that are compared at once: 200 MB beside 50,000."""

Vectors = NDArray[np.float32]


def plan(study: Study) -> list[Unit]:
    """One partition for the whole dataset."""
    return [Unit(NAME, (Partition(NAME, study.dataset.name, "pixels", 0),))]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The nearest training images of all test images, then of all training images."""
    data = datasets.load(study.dataset)
    parts = [_rows(study.dataset.name, "test", data.test_images, data.train_images, own=False)]
    parts += [_rows(study.dataset.name, "train", data.train_images, data.train_images, own=True)]
    yield unit.partitions[0], pa.concat_tables(parts)


def described(images: NDArray[np.uint8]) -> Vectors:
    """Images [n, side, side, channels] as rows [n, width] of mean 0 and length 1; a row of 0 for an image of one grey."""
    edges = np.unique(np.linspace(0, images.shape[1], SIDE + 1).astype(int))[:-1]
    extent = np.diff(np.append(edges, images.shape[1])).astype(np.float32)
    across = np.add.reduceat(images, edges, axis=2, dtype=np.float32) / extent[None, None, :, None]
    rows = (np.add.reduceat(across, edges, axis=1) / extent[None, :, None, None]).reshape(len(images), -1)
    rows -= rows.mean(1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 1e-3, length, np.inf)


def nearest(images: NDArray[np.uint8], train_images: NDArray[np.uint8], own: bool) -> tuple[NDArray[np.int64], Vectors]:
    """Positions and distances [n, k] of the training images nearest to each image, ties by position.

    `own` says that the images are the training images, none of which is its own neighbour.
    """
    train, k = described(train_images), min(NEAREST, len(train_images) - own)
    found, distances = np.empty((len(images), k), np.int64), np.empty((len(images), k), np.float32)
    for first in range(0, len(images), BLOCK):
        block = images[first : first + BLOCK]
        likeness = np.maximum(described(block) @ train.T, described(block[:, :, ::-1]) @ train.T)
        if own:
            likeness[np.arange(len(block)), first + np.arange(len(block))] = -np.inf
        # rounding differs with the shape of a product: 2^-20 makes equal images tie
        apart = np.round((2 - 2 * np.maximum(likeness, -1)) * 2**20) / 2**20
        apart[np.isneginf(likeness)] = np.inf
        chosen = np.sort(np.argpartition(apart, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(np.take_along_axis(apart, chosen, 1), axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, order, 1)
        found[first : first + BLOCK] = chosen
        distances[first : first + BLOCK] = np.sqrt(np.maximum(np.take_along_axis(apart, chosen, 1), 0))
    return found, distances


def _rows(dataset: str, split: str, images: NDArray[np.uint8], train_images: NDArray[np.uint8], own: bool) -> pa.Table:
    found, distances = nearest(images, train_images, own)
    n, k = found.shape
    columns = {
        "dataset_id": [dataset] * (n * k),
        "split": [split] * (n * k),
        "example_id": np.repeat(np.arange(n, dtype=np.int32), k),
        "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), n),
        "train_id": found.ravel().astype(np.int32),
        "distance": distances.ravel(),
    }
    return pa.table(columns, schema=TABLES[NAME].schema)
