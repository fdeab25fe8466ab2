"""Folders in which others keep masks, margins and weights: which file is what, by the names that their tools give them.

Three layouts are known: the released data of Ilyas et al. 2022 (`train_masks_50pct.npy`, `test_margins_50pct.npy`, weights in
`datamodels/test_50pct.pt`), the store that the code of the paper trains into (`masks.npy`, `margins.npy`, and `_completed.npy`,
which is set when a model was finished), and the evaluation data of TRAK (`mask.npy`, `val_margins.npy`; arXiv 2303.14186).
"""

import re
from pathlib import Path
from typing import NamedTuple

from lake.errors import UsageError

KNOWN = "masks.npy and margins.npy, mask.npy and val_margins.npy, or train_masks_50pct.npy and test_margins_50pct.npy"


class Found(NamedTuple):
    """Files of a folder, and how its margins were taken: `max` or `logsumexp` over the other classes."""

    masks: Path
    margins: Path
    margin: str
    train_margins: Path | None = None
    completed: Path | None = None
    test_weights: Path | None = None
    train_weights: Path | None = None


def find(folder: Path, percent: int | None = None) -> Found:
    """The files of a study in `folder`; `percent` chooses among released subset sizes. UsageError when there are none."""
    if released := _released(folder, percent):
        return released
    for names, margin in ((("masks.npy", "margins.npy"), "max"), (("mask.npy", "val_margins.npy"), "logsumexp")):
        masks, margins = (folder / name for name in names)
        if masks.is_file() and margins.is_file():
            return Found(masks, margins, margin, _there(folder / "train_margins.npy"), _there(folder / "_completed.npy"))
    raise UsageError(
        f"{folder} holds no masks and margins under a name that is known ({KNOWN}): name them by --masks, --margins"
    )


def _released(folder: Path, percent: int | None) -> Found | None:
    sizes = {int(match[1]): path for path in folder.glob("*masks_*pct.npy") if (match := re.search(r"_(\d+)pct", path.name))}
    if not sizes:
        return None
    if percent is None and len(sizes) > 1:
        raise UsageError(f"{folder} holds subsets of {', '.join(map(str, sorted(sizes)))} percent: choose by --percent")
    chosen = percent or min(sizes)
    margins = _one(folder, f"*test_margins_{chosen}pct.npy")
    if chosen not in sizes or margins is None:
        raise UsageError(f"{folder} lacks masks or test margins of {chosen} percent: needed are {KNOWN}")
    beside = (folder, folder / "datamodels", folder.parent / "datamodels")
    weights = [next(filter(None, (_one(f, f"*{split}_{chosen}pct.pt") for f in beside)), None) for split in ("test", "train")]
    return Found(sizes[chosen], margins, "max", _one(folder, f"*train_margins_{chosen}pct.npy"), None, *weights)


def _one(folder: Path, pattern: str) -> Path | None:
    return min(folder.glob(pattern), default=None)


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None
