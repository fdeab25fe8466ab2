"""Bring masks and margins that others have trained into a lake as an adopted study.

The layout is that of the released datamodels data and of TRAK (arXiv 2303.14186): masks [n_models, n_train] of 0 and 1, margins
[n_models, n_test], and sometimes a flag [n_models] that is set when a model was finished: rows without it are zeros and never
numbers. Files are read by memory map a partition at a time, so that size does not matter; pickles are refused. An adopted study
says so in its identity, with the SHA-256 of what it was made from, and no rule of ours is held against it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lake.errors import UsageError
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition, check_name
from lake.store import Lake
from lake.tables import TABLES

MODELS = 500
"""Models a partition."""
RULES = "adopted"


@dataclass(frozen=True)
class Source:
    """Files of somebody else's study, and what they do not say themselves."""

    masks: Path
    margins: Path
    completed: Path | None = None
    heldout: int = 0
    """How many models at the end are kept to judge on."""
    dataset: str = "unknown"
    margin: str = "logsumexp"
    origin: str = ""
    """Where the files are from: a URL, a name."""


def adopt(lake: Lake, name: str, source: Source) -> list[Partition]:
    """Publish the source as study `name`; the partitions that were added. A second call with the same files adds nothing.

    UsageError when the files do not fit together, ConflictError when the lake holds other rows under the name.
    """
    masks = check_source(source)[0]
    check_name(name, "study")
    identity = _identity(source, *_design(source, len(masks)))
    added, n_fit = [], len(masks) - source.heldout
    for role, first, last in (("fit", 0, n_fit), ("heldout", n_fit, len(masks))):
        for index, start in enumerate(range(first, last, MODELS)):
            rows = slice(start, min(start + MODELS, last))
            for table, made in _rows(source, name, role, rows, first, identity):
                partition = Partition(table, name, role, index)
                described = {"identity": identity, "fingerprint": fingerprint(identity), "code": version("datamodels-lake")}
                failed = sum(s != "ok" for s in made["status"].to_pylist()) if table == "margins" else 0
                facts = Facts(table, name, role, index, n_failed=failed, **described)
                added += [partition] if lake.publish(partition, made, facts).new else []
    return added


def check_source(source: Source) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Masks, margins and flags as memory maps; UsageError names what does not fit."""
    masks, margins = _open(source.masks, 2), _open(source.margins, 2)
    completed = _open(source.completed, 1) if source.completed else None
    if len(masks) != len(margins):
        turned = " (it looks transposed)" if len(masks) == margins.shape[1] else ""
        raise UsageError(
            f"{source.masks} has {len(masks)} models and {source.margins} {len(margins)}{turned}: need one row a model"
        )
    if margins.dtype.kind != "f":
        raise UsageError(f"{source.margins} is of {margins.dtype}: margins are floating-point numbers")
    if completed is not None and len(completed) != len(masks):
        raise UsageError(f"{source.completed} has {len(completed)} flags for {len(masks)} models")
    if not 0 <= source.heldout < len(masks):
        raise UsageError(f"{source.heldout} held-out models of {len(masks)}: leave some to fit on")
    return masks, margins, completed


def _rows(
    source: Source, name: str, role: str, rows: slice, first: int, identity: dict[str, Any]
) -> Iterator[tuple[str, pa.Table]]:
    """The tables masks and margins of the models in `rows`; the maps are opened anew, so that read pages are let go."""
    masks, margins, completed = check_source(source)
    included, told = masks[rows].astype(bool), np.array(margins[rows], np.float64)
    if (included != masks[rows]).any():
        raise UsageError(f"{source.masks}: models {rows.start} to {rows.stop} have values other than 0 and 1")
    done = np.ones(len(told), bool) if completed is None else np.array(completed[rows], bool)
    ok = done & (np.abs(told) <= np.finfo(np.float16).max).all(1)
    ids, n = np.arange(rows.start - first, rows.stop - first), len(told)
    keys = {"study_id": [name] * n, "role": [role] * n, "mask_id": ids}
    packed = [row.tobytes() for row in np.packbits(included, axis=1)]
    yield (
        "masks",
        _table("masks", {**keys, "alpha": [identity["alpha"]] * n, "design": [identity["design"]] * n, "mask": packed}),
    )
    lists = [row if good else None for row, good in zip(told.astype(np.float16), ok, strict=True)]
    status = np.where(ok, "ok", np.where(done, "diverged", "failed")).tolist()
    nothing = dict.fromkeys(("test_accuracy", "train_accuracy", "train_margin"), [None] * n)
    own = {"model_id": ids, "init_id": ids, "repeat": np.zeros(n, int), "status": status, "test_margin": lists}
    yield "margins", _table("margins", {**keys, **own, **nothing})


def _table(name: str, columns: dict[str, Any]) -> pa.Table:
    schema = TABLES[name].schema
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _identity(source: Source, alpha: float, design: str) -> dict[str, Any]:
    files = {"masks": source.masks, "margins": source.margins, "completed": source.completed}
    digests = {name: _sha256(path) for name, path in files.items() if path}
    described = {
        "origin": source.origin,
        "n_train": _open(source.masks, 2).shape[1],
        "heldout": source.heldout,
        "sha256": digests,
    }
    return {
        **{"adopted": described, "dataset": {"name": source.dataset}, "alpha": alpha, "design": design},
        **{"margin": source.margin, "rules": RULES},
    }


def _design(source: Source, n_models: int) -> tuple[float, str]:
    """Share of the training set in a mask, and whether all masks have one size."""
    sizes = np.concatenate([np.asarray(_open(source.masks, 2)[at : at + MODELS]).sum(1) for at in range(0, n_models, MODELS)])
    share = float(sizes.mean() / _open(source.masks, 2).shape[1])
    return round(share, 6), "fixed" if (sizes == sizes[0]).all() else "bernoulli"


def _open(path: Path, n_axes: int) -> NDArray[Any]:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} cannot be read as an .npy file of numbers ({error})") from error
    if not isinstance(found, np.ndarray) or found.ndim != n_axes or found.dtype.kind not in "bifu":
        raise UsageError(f"{path}: need an .npy array of numbers with {n_axes} axes")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
