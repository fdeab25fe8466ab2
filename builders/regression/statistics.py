"""Sufficient statistics of fitted models: everything a linear datamodel needs, in sums that add.

All targets share the masks, so one integer Gram and one cross product serve them all, and new models are added from
their own partitions without reading the old ones. Counts and sums are kept for each initialisation, so that masks and
margins can be centred within it (builders/regression/moments.py).

The Gram is exact; while models are few, the masks are kept in its place. The other sums are float64, and exact too for
float16 margins, which are multiples of 2^-24, as long as the magnitudes of one target add to less than 2^29: then totals
do not depend on the order of the models by a bit.
"""

import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from builders.regression import device
from builders.regression.gram import BLOCK, Pairs


@dataclass(frozen=True)
class Totals:
    """Sums over models.

    counts       [n_inits] int64: models of each initialisation
    mask_sums    [n_inits, n_train] int64: models of each initialisation that hold a train example
    margin_sums  [n_inits, n_targets] float64, in logits
    pairs        how many models hold both of two train examples
    cross        [n_train, n_targets] float64: sum of a target's margins over the models that hold a train example
    squares      [n_targets] float64: sum of squared margins
    """

    counts: np.ndarray
    mask_sums: np.ndarray
    margin_sums: np.ndarray
    pairs: Pairs
    cross: np.ndarray
    squares: np.ndarray

    @property
    def gram(self) -> np.ndarray:
        """Models that hold both train examples, `[n_train, n_train] int32`; counted anew at each call while they are few."""
        return self.pairs.dense()

    @property
    def n_models(self) -> int:
        """Number of models summed."""
        return int(self.counts.sum())

    @property
    def n_train(self) -> int:
        """Number of train examples, the columns of the masks."""
        return self.mask_sums.shape[1]

    @property
    def n_targets(self) -> int:
        """Number of targets, the columns of the margins."""
        return self.squares.shape[0]

    @property
    def n_inits(self) -> int:
        """Size of the pool of initialisations, used or not."""
        return self.counts.shape[0]

    @property
    def mean_mask(self) -> np.ndarray:
        """Share of all models that hold a train example, `[n_train] float64`."""
        return self.mask_sums.sum(0) / self.n_models

    @property
    def mean_margin(self) -> np.ndarray:
        """Mean margin over all models, `[n_targets] float64`."""
        return self.margin_sums.sum(0) / self.n_models


SUMS = tuple(field.name for field in fields(Totals) if field.name != "pairs")
"""The totals that are arrays."""


def empty(n_train: int, n_targets: int, n_inits: int = 1) -> Totals:
    """Return the totals of no models."""
    return Totals(
        counts=np.zeros(n_inits, np.int64),
        mask_sums=np.zeros((n_inits, n_train), np.int64),
        margin_sums=np.zeros((n_inits, n_targets)),
        pairs=Pairs(n_train),
        cross=np.zeros((n_train, n_targets)),
        squares=np.zeros(n_targets),
    )


Models = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Packed masks [n_models, ceil(n_train / 8)] uint8, margins [n_models, n_targets] float16 or float32, init_ids [n_models]."""


def add(totals: Totals, masks: np.ndarray, margins: np.ndarray, init_ids: np.ndarray | None = None, threads: int = 1) -> Totals:
    """Add models to `totals` in place, and return it.

    masks     [n_models, ceil(n_train / 8)] uint8: packed bits, most significant first
    margins   [n_models, n_targets] float16 or float32, finite: leave failed models out
    init_ids  [n_models] int, positions in the pool; without it every model counts as initialisation 0

    Raises ValueError, and adds nothing, where shapes, types or ids do not fit, or a margin is not finite.
    """
    init_ids = np.zeros(len(masks), np.int64) if init_ids is None else np.asarray(init_ids)
    return add_parts(totals, [(masks, margins, init_ids)], threads)


def add_parts(totals: Totals, parts: list[Models], threads: int = 1) -> Totals:
    """Add several sets of models as `add` would one after another, with the large products taken over all of them.

    Raises ValueError, and adds nothing, where one of them does not fit.
    """
    for part in parts:
        _check_models(totals, *part)
    for masks, margins, init_ids in parts:
        for start in range(0, len(masks), BLOCK):
            block = slice(start, start + BLOCK)
            _add_sums(totals, masks[block], margins[block], init_ids[block])
    if parts:
        masks, init_ids = (np.concatenate([part[i] for part in parts]) for i in (0, 2))
        totals.pairs.add(masks, init_ids, threads)
        _add_cross(totals.cross, masks, [margins for _, margins, _ in parts])
    return totals


def _add_sums(totals: Totals, masks: np.ndarray, margins: np.ndarray, init_ids: np.ndarray) -> None:
    member = (init_ids == np.arange(totals.n_inits)[:, None]).astype(np.float64)
    if device.cuda():
        from builders.regression import device_sums

        sums = device_sums.group_sums(masks, margins, member, totals.n_train)
    else:
        held, y = np.unpackbits(masks, axis=1, count=totals.n_train), margins.astype(np.float64)
        sums = (member @ held.astype(np.float64)).astype(np.int64), member @ y, (y * y).sum(0)
    totals.counts[:] += np.bincount(init_ids, minlength=totals.n_inits)
    for total, added in zip((totals.mask_sums, totals.margin_sums, totals.squares), sums, strict=True):
        total += added


def _add_cross(cross: np.ndarray, masks: np.ndarray, parts: list[np.ndarray]) -> None:
    if device.cuda():
        from builders.regression import device_sums

        device_sums.add_cross(cross, masks, parts)
        return
    margins = np.concatenate(parts)
    for start in range(0, len(masks), BLOCK):
        held = np.unpackbits(masks[start : start + BLOCK], axis=1, count=len(cross))
        cross += held.T.astype(np.float64) @ margins[start : start + BLOCK].astype(np.float64)


def _check_models(totals: Totals, masks: np.ndarray, margins: np.ndarray, init_ids: np.ndarray) -> None:
    width = -(-totals.n_train // 8)
    if masks.dtype != np.uint8 or masks.ndim != 2 or masks.shape[1] != width:
        raise ValueError(
            f"masks are {masks.dtype} {masks.shape}; needed: packed uint8 [n_models, {width}] "
            f"for {totals.n_train} train examples (np.packbits(masks, axis=1))"
        )
    if margins.dtype not in (np.float16, np.float32) or margins.shape != (len(masks), totals.n_targets):
        raise ValueError(
            f"margins are {margins.dtype} {margins.shape}; needed: float16 or float32 [{len(masks)}, {totals.n_targets}]"
        )
    if init_ids.dtype.kind not in "iu" or init_ids.shape != (len(masks),):
        raise ValueError(f"init_ids are {init_ids.dtype} {init_ids.shape}; needed: integers [{len(masks)}]")
    if len(init_ids) and not 0 <= init_ids.min() <= init_ids.max() < totals.n_inits:
        raise ValueError(f"init_ids span {init_ids.min()} to {init_ids.max()}; needed: 0 to {totals.n_inits - 1}")
    finite = _finite(margins)
    if not finite.all():
        raise ValueError(f"{(~finite).sum()} models have a margin that is not finite; leave failed models out")


def _finite(margins: np.ndarray) -> np.ndarray:
    """Whether all margins of a model are finite; half precision by its bits, in a fifth of the time."""
    if margins.dtype == np.float16:
        return np.asarray((margins.view(np.uint16) & 0x7FFF).max(1, initial=0) < 0x7C00)
    return np.asarray(np.isfinite(margins).all(1))


def plus(a: Totals, b: Totals) -> Totals:
    """Return the totals of the models of both, leaving them as they are; ValueError if their shapes differ."""
    check_alike(a, b)
    sums = {name: getattr(a, name) + getattr(b, name) for name in SUMS}
    return Totals(**sums, pairs=a.pairs.plus(b.pairs))


def check_alike(a: Totals, b: Totals) -> None:
    """Raise ValueError unless both have the same train examples, targets and pool of initialisations."""
    for name in ("n_train", "n_targets", "n_inits"):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(f"totals differ in {name}: {getattr(a, name)} and {getattr(b, name)}; it must be one")


def pooled(totals: Totals) -> Totals:
    """Return the same models as if of one initialisation, which switches centring within initialisations off."""
    sums = {name: getattr(totals, name).sum(0, keepdims=True) for name in ("counts", "mask_sums", "margin_sums")}
    return replace(totals, **sums, pairs=totals.pairs.pooled())


def of_targets(totals: Totals, chosen: slice) -> Totals:
    """The totals of some of the targets."""
    sums = {"margin_sums": totals.margin_sums[:, chosen], "cross": totals.cross[:, chosen], "squares": totals.squares[chosen]}
    return replace(totals, **sums)


def save(totals: Totals, path: Path) -> None:
    """Write the totals to `path` as .npz."""
    with path.open("wb") as file:
        arrays = {name: getattr(totals, name) for name in SUMS}
        few = {"masks": totals.pairs.masks, "groups": totals.pairs.groups}
        arrays |= few if totals.pairs.counts is None else {"gram": totals.gram}
        np.savez(file, **arrays)


def load(path: Path) -> Totals:
    """Read totals that `save` wrote; ValueError if it is damaged or something else, without running any code in it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            sums = {name: file[name] for name in SUMS}
            pairs = Pairs(sums["mask_sums"].shape[1])
            if "gram" in file:
                pairs.counts = device.placed(file["gram"])
            else:
                pairs.masks, pairs.groups = file["masks"], file["groups"]
            return Totals(**sums, pairs=pairs)
    except (BadZipFile, EOFError, KeyError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} does not hold totals ({error}); delete it and rebuild it from the lake") from error
