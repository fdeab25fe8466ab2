"""The table examples: the images of a study's dataset, so that a lake can be looked at without the dataset's source."""

import hashlib
import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from builders import datasets
from builders.study import Study
from builders.unit import Unit
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "examples"
BUILDS: tuple[str, ...] = ("examples",)


def plan(study: Study) -> list[Unit]:
    """One partition for the whole dataset: it is written once, and a row group holds 1,000 images."""
    return [Unit(NAME, (Partition("examples", study.dataset.name, "images", 0),))]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """All images, test split before training split, as PNG."""
    data = datasets.load(study.dataset)
    splits = (("test", data.test_images, data.test_labels), ("train", data.train_images, data.train_labels))
    yield unit.partitions[0], pa.concat_tables([_rows(study.dataset.name, *split) for split in splits])


def _rows(dataset: str, split: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> pa.Table:
    n = len(images)
    columns = {
        "dataset_id": [dataset] * n,
        "split": [split] * n,
        "example_id": np.arange(n, dtype=np.int32),
        "label": labels.astype(np.int32),
        "image": [{"bytes": png(image), "path": None} for image in images],
        "image_sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
    }
    return pa.table(columns, schema=TABLES["examples"].schema)


def png(image: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of an image [side, side, 1 or 3]; other channel counts keep their first as grey."""
    pixels = image if image.shape[-1] == 3 else image[..., 0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
