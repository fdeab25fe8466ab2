"""The tables about the images of a dataset: the images, what looks like them, and the faults that were planted among them.

Part of the data dictionary in lake/tables.py.
"""

import pyarrow as pa

from lake.columns import DATASET, identifier
from lake.schema import Column, Table

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

EXAMPLES = Table(
    "examples",
    "an image of a dataset",
    (
        DATASET,
        Column("split", pa.string(), "`test` or `train`", words=("test", "train")),
        identifier("example_id", "position in its split: `train_id` or `target_id` elsewhere"),
        identifier("label", "class of the image, from 0"),
        Column("image", _IMAGE, "PNG bytes and a NULL path: the Hub's image feature"),
        Column("image_sha256", pa.string(), "SHA-256 of the raw pixels (height x width x channel, uint8), hex"),
    ),
    ("split", "example_id"),
    hive_key="dataset",
    row_group=1_000,
)

NEIGHBOURS = Table(
    "neighbours",
    "a training image that looks much like another image of the dataset",
    (
        DATASET,
        Column("split", pa.string(), "`test` or `train`: where the image is", words=("test", "train")),
        identifier("example_id", "position of the image in its split"),
        identifier("rank", "1 is the nearest"),
        identifier("train_id", "position of the training image that looks like it, never itself"),
        Column(
            "distance",
            pa.float32(),
            "between the images, or their mirror images, at 8 x 8 pixels, mean 0 and length 1: 0 to 2",
        ),
    ),
    ("split", "example_id", "rank"),
    hive_key="dataset",
)

PLANTED = Table(
    "planted",
    "a fault that was put into a dataset on purpose, so that what should find it can be judged",
    (
        DATASET,
        Column("split", pa.string(), "`train`: where the fault is", words=("train",)),
        identifier("example_id", "position of the faulty example in its split"),
        Column(
            "kind",
            pa.string(),
            "`label` (changed), `copy`, `near-copy` (pixels changed a little) or `leak` (near copy of a test example)",
            words=("label", "copy", "near-copy", "leak"),
        ),
        Column("source_split", pa.string(), "`test` or `train`: where the example that was copied is", nullable=True),
        identifier("source_id", "position of the example that was copied, before any was left out", nullable=True),
        identifier("true_label", "class of the image, from 0"),
    ),
    ("split", "example_id"),
    hive_key="dataset",
)
