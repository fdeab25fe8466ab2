"""Running totals of fit models: the sums behind every fit, kept beside the lake and brought up to date from new partitions.

Totals are a cache in `.lake/totals/`, named by the study's fingerprint and the number of models; deleting it loses nothing.
A larger fit starts from the largest totals that are there and reads only the partitions after them. Every fifth model is
set apart to choose penalties on; its fit and held-out sums are exact for float16 margins, so totals that grew are equal by
bit to totals made at once.
"""

import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builders.masks import packed_bits
from builders.regression import statistics
from builders.regression.statistics import Totals
from builders.study import Study
from lake.store import Lake
from lake.tables import Partition

HELDOUT_EVERY = 5
"""Model ids that are 4 modulo 5 choose the penalty; the pool's size is prime to it in every shipped study."""

Pair = tuple[Totals, Totals]


def of_models(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...], fingerprint: str) -> Pair:
    """(fit part, held-out part) of the models with id below `n_models`, targets of the given splits side by side."""
    done, pair = _newest(lake, study, n_models, splits, fingerprint)
    first = done // study.partition_models
    for index in range(first, -(-n_models // study.partition_models)):
        pair = _add_partition(lake, study, index, (done, n_models), splits, pair)
    if pair is None:
        raise ValueError(f"totals of {n_models} models were asked for; at least one is needed")
    return pair


def keep(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...], fingerprint: str, pair: Pair) -> None:
    """Keep totals for the next fit, and drop older ones of the same study."""
    folder = lake.root / ".lake" / "totals"
    folder.mkdir(parents=True, exist_ok=True)
    for part, totals in zip(("fit", "heldout"), pair, strict=True):
        fresh = folder / f"{uuid.uuid4().hex}.tmp"
        statistics.save(totals, fresh)
        fresh.replace(folder / _name(fingerprint, splits, n_models, part))
    for old in folder.glob(_name(fingerprint, splits, "*", "*")):
        if _models(old) < n_models:
            old.unlink(missing_ok=True)


def read_models(lake: Lake, study: Study, index: int, splits: tuple[str, ...]) -> dict[str, NDArray]:
    """Models of one fit partition that ended well: `ids`, `init_ids`, `masks` (packed) and `margins` [n, n_targets] float16."""
    rows = lake.read(
        Partition("margins", study.name, "fit", index),
        ["model_id", "init_id", "status", *(f"{s}_margin" for s in splits)],
    )
    masks = packed_bits(lake.read(Partition("masks", study.name, "fit", index), ["mask"]))
    ok = np.array([s == "ok" for s in rows["status"].to_pylist()])
    lists = [rows[f"{split}_margin"].combine_chunks() for split in splits]
    values = [a.flatten().to_numpy(zero_copy_only=False).reshape(ok.sum(), -1) for a in lists]
    ids, init_ids = rows["model_id"].to_numpy()[ok], rows["init_id"].to_numpy()[ok]
    return {"ids": ids, "init_ids": init_ids, "masks": masks[ok], "margins": np.concatenate(values, 1)}


def _add_partition(
    lake: Lake, study: Study, index: int, bounds: tuple[int, int], splits: tuple[str, ...], pair: Pair | None
) -> Pair:
    models = read_models(lake, study, index, splits)
    if pair is None:
        n_train = len(lake.read(Partition("margins", study.name, "fit", index), ["train_margin"])["train_margin"][0])
        fit, heldout = (statistics.empty(n_train, models["margins"].shape[1], study.pool) for _ in range(2))
    else:
        fit, heldout = pair
    inside = (models["ids"] >= bounds[0]) & (models["ids"] < bounds[1])
    apart = models["ids"] % HELDOUT_EVERY == HELDOUT_EVERY - 1
    for totals, rows in ((fit, inside & ~apart), (heldout, inside & apart)):
        statistics.add(totals, models["masks"][rows], models["margins"][rows], models["init_ids"][rows])
    return fit, heldout


def _newest(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...], fingerprint: str) -> tuple[int, Pair | None]:
    """The largest totals kept of at most `n_models` models, and how many those are; (0, None) when there are none."""
    folder = lake.root / ".lake" / "totals"
    kept = sorted((_models(p), p) for p in folder.glob(_name(fingerprint, splits, "*", "heldout")))
    for models, path in reversed(kept):
        if (models <= n_models and models % study.partition_models == 0) or models == n_models:
            try:
                fit = statistics.load(path.with_name(_name(fingerprint, splits, models, "fit")))
                return models, (fit, statistics.load(path))
            except (OSError, ValueError):
                path.unlink(missing_ok=True)  # a damaged cache is made again from the lake
    return 0, None


def _name(fingerprint: str, splits: tuple[str, ...], n_models: int | str, part: str) -> str:
    return f"{fingerprint}-{'-'.join(splits)}-{n_models}-{part}.npz"


def _models(path: Path) -> int:
    return int(path.stem.rsplit("-", 2)[1])
