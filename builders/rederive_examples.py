"""Deep check of the table examples: images are those of the hashes beside them."""

import hashlib
import io
from collections.abc import Iterator

from PIL import Image

from builders.datasets.images import UNREADABLE, pixels
from lake.partition import Partition
from lake.store import Lake
from lake.verify import SET_ASIDE, Problem


def check(lake: Lake, partition: Partition) -> Iterator[Problem]:
    """Images whose pixels have another SHA-256 than their row says, or cannot be read.

    Of images with two or four channels only the first is kept, as grey, so grey images none of which fits say nothing.
    """
    rows = lake.read(partition, ["split", "example_id", "image", "image_sha256"]).to_pylist()
    found = [_seen(row["image"]["bytes"]) for row in rows]
    wrong = [row for row, (told, _) in zip(rows, found, strict=True) if told != row["image_sha256"]]
    if not wrong or (len(wrong) == len(rows) and all(mode == "L" for _, mode in found)):
        return
    first = wrong[0]
    what = f"{len(wrong)} images are not those of their SHA-256 (first: {first['split']} {first['example_id']})"
    yield Problem(partition.path, what, SET_ASIDE)


def _seen(png: bytes | None) -> tuple[str, str]:
    """SHA-256 (hex) of the pixels and Pillow's mode; both empty for what is no image."""
    try:
        with Image.open(io.BytesIO(png or b""), formats=["PNG"]) as image:
            mode = image.mode
            return hashlib.sha256(pixels(image, None).tobytes()).hexdigest(), mode
    except UNREADABLE:
        return "", ""
