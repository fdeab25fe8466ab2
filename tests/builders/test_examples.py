"""The table examples: every image comes back from its PNG, with its label, in order."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from builders import datasets, examples
from lake.partition import Partition


def test_images_and_labels_come_back_in_order(built, small):
    rows = built.read(Partition("examples", "digits-60-20", "images", 0)).to_pylist()
    data = datasets.load(small.dataset)
    for split, images, labels in (
        ("test", data.test_images, data.test_labels),
        ("train", data.train_images, data.train_labels),
    ):
        own = [row for row in rows if row["split"] == split]
        assert [row["example_id"] for row in own] == list(range(len(labels)))
        assert [row["label"] for row in own] == labels.tolist()
        decoded = [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in own]
        assert np.array_equal(np.stack(decoded), images[..., 0])
        assert [row["image_sha256"] for row in own] == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        assert {row["dataset_id"] for row in own} == {"digits-60-20"}


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_a_png_keeps_every_pixel_of_grey_and_colour(channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (5, 5, channels)).astype(np.uint8)
    shown = Image.open(io.BytesIO(examples.png(image)))
    assert shown.mode == mode
    assert np.array_equal(np.asarray(shown), image if channels == 3 else image[..., 0])


def test_one_partition_holds_the_dataset(small):
    (unit,) = examples.plan(small)
    assert unit.partitions == (Partition("examples", "digits-60-20", "images", 0),)
    assert unit.needs == ()
