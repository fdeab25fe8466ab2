"""Give a study's masks and margins to other tools as .npy files, byte for byte what they would have written themselves.

Row i is model i of the role: masks [n_models, n_train] bool, test margins [n_models, n_test]; models that did not end well are
rows of zeros, with a flag [n_models] that is false, as in the stores of the released datamodels code. Files are written a
partition at a time beside their names, and get these when they are whole.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake


def export(lake: Lake, name: str, role: str, folder: Path, dtype: str = "float16") -> int:
    """Write masks.npy, margins.npy and completed.npy of a study's role into `folder`; return how many models.

    UsageError when the lake has no such margins.
    """
    present = {p: stat for p, stat in sorted(lake.present("margins", name).items()) if p.role == role}
    if not present:
        raise UsageError(f"{lake.root} has no margins of study {name!r} in role {role!r}: `make status` shows what there is")
    facts = lake.facts(present)
    n_models, at = sum(found.rows for found in facts.values()), 0
    maps: dict[str, np.memmap[Any, Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for partition, found in facts.items():
        for what, block in _blocks(lake, partition, found, dtype).items():
            if what not in maps:
                shape = (n_models, *block.shape[1:])
                maps[what] = np.lib.format.open_memmap(folder / f"{what}.part", "w+", block.dtype, shape)
            maps[what][at : at + found.rows] = block
        at += found.rows
    for what, written in maps.items():
        written.flush()
        os.replace(folder / f"{what}.part", folder / f"{what}.npy")
    return n_models


def _blocks(lake: Lake, partition: Partition, facts: Facts, dtype: str) -> dict[str, NDArray[Any]]:
    """Masks, margins and flags of the models of one partition."""
    rows = lake.read(partition, ["mask_id", "test_margin", "train_margin"])
    ok = np.array(rows["test_margin"].is_valid())
    values = rows["test_margin"].combine_chunks().drop_null().flatten().to_numpy(zero_copy_only=False)
    told = np.zeros((len(ok), len(values) // max(int(ok.sum()), 1)), dtype)
    told[ok] = values.reshape(int(ok.sum()), told.shape[1])
    trained = rows["train_margin"].combine_chunks().drop_null()
    n_train = len(trained[0]) if len(trained) else facts.identity["adopted"]["n_train"]
    drawn = lake.read(Partition("masks", partition.value, partition.role, partition.index), ["mask_id", "mask"])
    packed = np.frombuffer(b"".join(drawn["mask"].to_pylist()), np.uint8).reshape(drawn.num_rows, -1)
    included = np.unpackbits(packed, axis=1, count=n_train).astype(bool)
    at = np.searchsorted(drawn["mask_id"].to_numpy(), rows["mask_id"].to_numpy())
    return {"masks": included[at], "margins": told, "completed": ok}
