"""Any classification dataset of torchvision, downloaded and checked by torchvision, and folders of images by class."""

import inspect
from pathlib import Path
from typing import Any

from PIL import Image

from builders.datasets.cache import folder
from builders.datasets.images import UNREADABLE, Labelled, assemble, pixels
from builders.training.interface import Data
from lake.errors import LakeError, UsageError


def from_torchvision(name: str, side: int | None = None) -> Data:
    """`torchvision.datasets.NAME`, its own train and test split; one line tells why it cannot be had."""
    import torchvision.datasets as known

    make = getattr(known, name, None)
    if not inspect.isclass(make) or not (arguments := _splits(make)):
        raise UsageError(f"dataset torchvision:{name}: no dataset of torchvision with a train and a test split has this name")
    root = folder() / "torchvision"
    try:
        train, test = (_open(make, str(root), each) for each in arguments)
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LakeError(
            f"dataset torchvision:{name}: not to be had ({reason}); check the network, or lay it in {root}"
        ) from error
    return _read(train, test, f"torchvision:{name}", side)


def from_folder(path: Path, side: int | None = None) -> Data:
    """Images in PATH/train/CLASS/ and PATH/test/CLASS/, classes and files in order of their names, read by ImageFolder."""
    from torchvision.datasets import ImageFolder

    source = f"folder:{path}"
    try:
        train, test = (ImageFolder(str(path / split), loader=Image.open) for split in ("train", "test"))
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"dataset {source}: needed are images in train/CLASS/ and test/CLASS/ ({reason})") from error
    if train.classes != test.classes:
        raise UsageError(f"dataset {source}: classes are {train.classes} in train and {test.classes} in test")
    return _read(train, test, source, side)


def _splits(make: Any) -> list[dict[str, object]]:
    """Arguments that pick the two splits, by what the class takes."""
    parameters = inspect.signature(make.__init__).parameters
    if "train" in parameters:
        return [{"train": True}, {"train": False}]
    return [{"split": "train"}, {"split": "test"}] if "split" in parameters else []


def _open(make: Any, root: str, arguments: dict[str, object]) -> Any:
    downloads = {"download": True} if "download" in inspect.signature(make.__init__).parameters else {}
    return make(root, **arguments, **downloads)


def _read(train: Any, test: Any, source: str, side: int | None) -> Data:
    ours, theirs = (_labelled(each, side, f"{source}, {name} split") for each, name in ((train, "train"), (test, "test")))
    n_classes = 1 + max(ours[1] + theirs[1], default=0)
    names = [str(c) for c in getattr(train, "classes", [])]
    return assemble(ours, theirs, names if len(names) >= n_classes else [str(i) for i in range(n_classes)], source)


def _labelled(split: Any, side: int | None, where: str) -> Labelled:
    images, labels = [], []
    for i in range(len(split)):
        try:
            image, label = split[i]
            images.append(pixels(image, side))
        except UNREADABLE as error:
            named = split.samples[i][0] if hasattr(split, "samples") else f"image {i}"
            raise UsageError(f"dataset {where}: {named} cannot be read ({' '.join(str(error).split())[:200]})") from error
        labels.append(int(label))
    return images, labels
