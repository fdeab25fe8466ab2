"""Images of any mode and size as one array: what the sources that hold picture files share.

Grey images have one channel unless others beside them are in colour; everything else becomes RGB. With `side` given, each is
cropped about its centre to a square and resized, each pixel the mean of those that it covers.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from builders.training.interface import Data
from lake.errors import UsageError

Labelled = tuple[list[NDArray[np.uint8]], list[int]]
"""Pixels of each image [height, width, channels], and labels."""


LARGEST = 50_000_000
"""Pixels of an image: more than photographs have, and no more than 150 MB when it is unpacked."""

UNREADABLE = (OSError, ValueError, SyntaxError, TypeError, KeyError, Image.DecompressionBombError)
"""What Pillow, and `pixels`, raise for a file that is no image, a broken one, or one that is too large."""


def pixels(image: Image.Image, side: int | None) -> NDArray[np.uint8]:
    """An image as uint8 [height, width, 1 or 3], cropped and resized to `side` x `side` when that is given.

    ValueError, before it is unpacked, for one of more than LARGEST pixels.
    """
    if image.width * image.height > LARGEST:
        raise ValueError(f"an image of {image.width:,} x {image.height:,} pixels, more than {LARGEST:,}")
    plain = image.convert("L" if image.mode in ("1", "L") else "RGB")
    if side is not None:
        plain = ImageOps.fit(plain, (side, side), method=Image.Resampling.BOX)
    array = np.asarray(plain)
    return array[..., None] if array.ndim == 2 else array


def assemble(train: Labelled, test: Labelled, class_names: Iterable[str], source: str) -> Data:
    """Both splits as Data; UsageError when the images are not squares of one size, which `side` would make them."""
    sizes = sorted({image.shape[:2] for image in (*train[0], *test[0])})
    if not train[0] or not test[0]:
        raise UsageError(f"dataset {source}: {len(train[0])} training and {len(test[0])} test images; needed are some of both")
    if len(sizes) > 1 or sizes[0][0] != sizes[0][1]:
        got = ", ".join(f"{w} x {h}" for h, w in (sizes[0], sizes[-1])[: len(sizes)])
        raise UsageError(f"dataset {source}: images of {got} pixels; needed are squares of one size: set `side` in [dataset]")
    channels = max(image.shape[2] for image in (*train[0], *test[0]))
    return Data(*_arrays(train, channels), *_arrays(test, channels), tuple(class_names))


def _arrays(split: Labelled, channels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images = np.empty((len(split[0]), *split[0][0].shape[:2], channels), np.uint8)
    for i, image in enumerate(split[0]):
        images[i] = image  # one grey channel fills all three
    return images, np.asarray(split[1], np.int64)
