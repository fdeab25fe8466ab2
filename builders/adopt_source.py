"""Files of somebody else's study, read by memory map a few models at a time, so that their size does not matter.

Masks are [n_models, n_train] of 0 and 1, margins [n_models, n_targets]; a flag [n_models] is set when a model was finished:
rows without it are zeros and never numbers. Maps are opened anew for each part, so that pages which were read are let go.
Pickles are refused.
"""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lake.errors import UsageError

MODELS = 500
"""Models read at once, and in a partition."""


@dataclass(frozen=True)
class Source:
    """Files of somebody else's study, and what they do not say themselves."""

    masks: Path
    margins: Path
    """On test examples."""
    train_margins: Path | None = None
    completed: Path | None = None
    test_weights: Path | None = None
    """.pt with `weight` [n_train, n_test], `bias` [n_test] and `lam` [n_test]."""
    train_weights: Path | None = None
    heldout: int = 0
    """How many models at the end are kept to judge on."""
    dataset: str = "unknown"
    margin: str = "logsumexp"
    origin: str = ""
    """Where the files are from: a URL, a name."""
    form: str = ""
    """Whether weights are `raw` or `standardised`; empty: the models tell (builders/adopt_fits.py)."""


class Maps(NamedTuple):
    """The files as memory maps: masks [n_models, n_train], margins [n_models, n], flags [n_models]."""

    masks: NDArray[Any]
    test: NDArray[Any]
    train: NDArray[Any] | None
    completed: NDArray[Any] | None


class Models(NamedTuple):
    """Some models: masks [n, n_train] bool, margins [n, n_targets] float32 by split, and how each ended [n]."""

    masks: NDArray[np.bool_]
    margins: dict[str, NDArray[np.float32]]
    status: NDArray[np.str_]


class Survey(NamedTuple):
    """All masks at a glance: share of the training set, design, and share of the fit masks that hold each example [n_train]."""

    alpha: float
    design: str
    share: NDArray[np.float64]


def check_source(source: Source) -> Maps:
    """The files, opened anew; UsageError names what does not fit."""
    optional = [_open(path, n) if path else None for path, n in ((source.train_margins, 2), (source.completed, 1))]
    maps = Maps(_open(source.masks, 2), _open(source.margins, 2), *optional)
    n_models, n_train = maps.masks.shape
    for path, found in ((source.margins, maps.test), (source.train_margins, maps.train), (source.completed, maps.completed)):
        if found is not None and len(found) != n_models:
            turned = " (it looks transposed)" if found.shape[1:] == (n_models,) else ""
            raise UsageError(f"{source.masks} has {n_models} models and {path} {len(found)}{turned}: need one row a model")
    for path, found in ((source.margins, maps.test), (source.train_margins, maps.train)):
        if found is not None and found.dtype.kind != "f":
            raise UsageError(f"{path} is of {found.dtype}: margins are floating-point numbers")
    if maps.train is not None and maps.train.shape[1] != n_train:
        raise UsageError(f"{source.train_margins} has {maps.train.shape[1]} targets for {n_train} training examples")
    if not 0 <= source.heldout < n_models:
        raise UsageError(f"{source.heldout} held-out models of {n_models}: leave some to fit on")
    return maps


def read_models(source: Source, rows: slice) -> Models:
    """Models in `rows`, copied out of maps that are opened anew, so that pages which were read are let go."""
    maps = check_source(source)
    included = maps.masks[rows].astype(bool)
    if (included != maps.masks[rows]).any():
        raise UsageError(f"{source.masks}: models {rows.start} to {rows.stop} have values other than 0 and 1")
    halves = {"test": maps.test, "train": maps.train}
    margins = {split: np.array(found[rows], np.float32) for split, found in halves.items() if found is not None}
    done = np.ones(len(included), bool) if maps.completed is None else np.array(maps.completed[rows], bool)
    fits = np.logical_and.reduce([(np.abs(found) <= np.finfo(np.float16).max).all(1) for found in margins.values()])
    return Models(included, margins, np.where(done & fits, "ok", np.where(done, "diverged", "failed")))


def look_over(source: Source) -> Survey:
    """Read all masks once."""
    n_models, n_train = _open(source.masks, 2).shape
    sizes, counts = [], np.zeros(n_train)
    for at in range(0, n_models, MODELS):
        block = _open(source.masks, 2)[at : at + MODELS]
        sizes.append(block.sum(1, dtype=np.float64))
        counts += block[: max(0, n_models - source.heldout - at)].sum(0, dtype=np.float64)
    every = np.concatenate(sizes)
    design = "fixed" if (every == every[0]).all() else "bernoulli"
    return Survey(round(float(every.mean() / n_train), 6), design, counts / (n_models - source.heldout))


def digests(source: Source) -> dict[str, str]:
    """SHA-256 (hex) of each file, by field of the source."""
    files = {field.name: getattr(source, field.name) for field in fields(source)}
    return {name: _sha256(path) for name, path in files.items() if isinstance(path, Path)}


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
