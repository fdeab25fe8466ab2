"""Where decoded images are kept between runs: a folder that may be deleted at any time.

Decoding 60,000 PNG images takes seconds in every process, reading their pixels a fraction of one. What is read back counts
only when its digest is the pinned one, so a damaged file costs a decoding and nothing else.
"""

import os
import uuid
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from builders.training.interface import Data

FIELDS = ("train_images", "train_labels", "test_images", "test_labels", "class_names")


def folder() -> Path:
    """The cache's folder: under XDG_CACHE_HOME, by default ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datamodels-lake"


def recall(name: str) -> Data | None:
    """What was kept under the name, unchecked; None when there is nothing that can be read."""
    try:
        with np.load(folder() / f"{name}.npz", allow_pickle=False) as kept:
            arrays = {field: kept[field] for field in FIELDS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # nothing kept, or damaged: it is made again
    return Data(**{**arrays, "class_names": tuple(str(word) for word in arrays["class_names"])})


def keep(name: str, data: Data) -> None:
    """Keep `data` under the name, whole or not at all; a folder that cannot be written to is no reason to stop."""
    fresh = folder() / f"{name}-{uuid.uuid4().hex}.npz"
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        fields: dict[str, Any] = {field: np.asarray(getattr(data, field)) for field in FIELDS}
        np.savez(fresh, **fields)
        os.replace(fresh, folder() / f"{name}.npz")
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
