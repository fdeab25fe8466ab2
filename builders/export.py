"""Give a study's masks and margins to other tools as .npy files, byte for byte what they would have written themselves.

Row i is model i: masks [n_models, n_train] bool, margins [n_models, n] in float16 or float32; models that did not end well are
rows of zeros, with a flag [n_models] that is false. Files are named as in the layouts that builders/layouts.py knows, written a
partition at a time beside their names, and get these when they are whole.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from lake.files import Stat, explained
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake

NAMES = {
    "store": {"masks": "masks", "test": "margins", "train": "train_margins", "completed": "_completed"},
    "released": {"masks": "train_masks_{}pct", "test": "test_margins_{}pct", "train": "train_margins_{}pct"},
    "trak": {"masks": "mask", "test": "val_margins"},
}
"""File names by layout; {} is the share of the training set, in percent."""


def export(lake: Lake, name: str, roles: tuple[str, ...], folder: Path, layout: str = "store", dtype: str = "float16") -> int:
    """Write a study's models of these roles into `folder`, one role after the other; return how many models.

    UsageError when the lake has no such margins.
    """
    facts = lake.facts(_present(lake, name, roles))
    n_models, at = sum(found.rows for found in facts.values()), 0
    maps: dict[str, np.memmap[Any, Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for partition, found in facts.items():
        percent = round(100 * float(found.identity["alpha"]))
        for what, block in _blocks(lake, partition, found, dtype):
            if what not in NAMES[layout]:
                continue
            file = NAMES[layout][what].format(percent)
            if file not in maps:
                shape = (n_models, *block.shape[1:])
                maps[file] = _mapped(folder / f"{file}.part", block.dtype, shape)
            maps[file][at : at + found.rows] = block
        at += found.rows
    for file, written in maps.items():
        written.flush()
        os.replace(folder / f"{file}.part", folder / f"{file}.npy")
    return n_models


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """A new array on disk, its room reserved: a full disk under a map would end the process without a word."""
    with explained(path.parent):
        mapped = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with explained(path.parent, mapped.nbytes), path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return mapped


def _present(lake: Lake, name: str, roles: tuple[str, ...]) -> dict[Partition, Stat]:
    """Margins of the study in order of role and index."""
    found = {p: stat for p, stat in lake.present("margins", name).items() if p.role in roles}
    if not found:
        raise UsageError(f"{lake.root} has no margins of study {name!r} in role {' or '.join(roles)}: `make status` tells more")
    return {p: found[p] for p in sorted(found, key=lambda p: (roles.index(p.role), p.index))}


def _blocks(lake: Lake, partition: Partition, facts: Facts, dtype: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Masks, margins and flags of the models of one partition, by what they are."""
    rows = lake.read(partition, ["mask_id", "status", "test_margin", "train_margin"])
    ok = np.array([status == "ok" for status in rows["status"].to_pylist()])
    n_train = _length(rows["train_margin"]) or facts.identity["adopted"]["n_train"]
    drawn = lake.read(Partition("masks", partition.value, partition.role, partition.index), ["mask_id", "mask"])
    packed = np.frombuffer(b"".join(drawn["mask"].to_pylist()), np.uint8).reshape(drawn.num_rows, -1)
    at = np.searchsorted(drawn["mask_id"].to_numpy(), rows["mask_id"].to_numpy())
    yield "masks", np.unpackbits(packed[at], axis=1, count=n_train).astype(bool)
    yield "completed", ok
    for split in ("test", "train"):
        lists = rows[f"{split}_margin"].combine_chunks().drop_null()
        if len(lists) or split == "test":
            told = np.zeros((len(ok), _length(lists)), dtype)
            told[ok] = lists.flatten().to_numpy(zero_copy_only=False).reshape(int(ok.sum()), -1)
            yield split, told


def _length(lists: Any) -> int:
    """Numbers in each list; 0 where there is none."""
    present = lists.drop_null()
    return len(present[0]) if len(present) else 0
