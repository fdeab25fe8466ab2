"""Running totals of fit models: the sums behind every fit, kept beside the lake and brought up to date from new partitions.

Totals are a cache in `.lake/totals/<study>/`, named by the contents of the margins they sum and the number of models, so
that a partition built anew is never taken for the old one; deleting the cache loses nothing. A larger fit starts from the
largest totals that are there and reads only the partitions after them. Every fifth model is set apart to choose penalties
on; its fit and held-out sums are exact for float16 margins, so totals that grew are equal by bit to totals made at once.
"""

import uuid
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders import datasets, masks
from builders.regression import statistics
from builders.regression.statistics import Totals
from builders.study import Study
from lake.files import explained
from lake.fingerprint import fingerprint
from lake.partition import Partition
from lake.store import Lake
from lake.verify import unusable

HELDOUT_EVERY = 5
"""Model ids that are 4 modulo 5 choose the penalty; the pool's size is prime to it in every shipped study."""

POOL_LIMIT = 1_024
"""Larger pools are summed as one group: nobody has the models to take a mean out for each of so many."""

BATCH_BYTES = 2 << 30
"""Margins added at a time: partitions are small, and a pass over a large cross product costs as much as reading it."""

KEEP_BYTES = 4 << 30
"""Larger totals are not kept: at n = 50,000 they are 28 GB, and models are read again as fast."""

MODELS_AN_INIT = 4
"""With fewer models for each initialisation than this, taking out its mean costs more than it brings."""

Pair = tuple[Totals, Totals]


def blocked(pair: Pair) -> Pair:
    """The pair as it is to be fitted: centred within initialisations where each has models enough, else as one group."""
    fit, heldout = pair
    if fit.n_models + heldout.n_models >= MODELS_AN_INIT * fit.n_inits:
        return pair
    return statistics.pooled(fit), statistics.pooled(heldout)


def of_models(
    lake: Lake, study: Study, n_models: int, splits: tuple[str, ...], first: int = 0, targets: slice | None = None
) -> Pair:
    """(fit part, held-out part) of the models with ids from `first` to below `n_models`.

    Targets of the splits stand side by side; `targets` asks for some of them.
    """
    done, pair = (first, None) if first or targets else _newest(lake, study, n_models, splits)
    batch: list[dict[str, NDArray]] = []
    last = -(-n_models // study.partition_models) - 1
    for index in range(done // study.partition_models, last + 1):
        models = _inside(read_models(lake, study, index, splits), done, n_models)
        batch.append(models | {"margins": np.ascontiguousarray(models["margins"][:, targets or slice(None)])})
        if index == last or sum(models["margins"].nbytes for models in batch) >= BATCH_BYTES:
            pair, batch = _add_models(study, batch, pair), []
    if pair is None:
        raise ValueError(f"totals of {n_models} models were asked for; at least one is needed")
    return pair


def keep(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...], pair: Pair) -> None:
    """Keep totals for the next fit, and drop older ones of the same study; totals too large to be worth it are not kept."""
    if sum(part.cross.nbytes + part.pairs.nbytes for part in pair) > KEEP_BYTES:
        return
    final = _path(lake, study, n_models, splits)
    with explained(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        for totals, path in zip(pair, (_fit_part(final), final), strict=True):
            fresh = path.with_name(f"{uuid.uuid4().hex}.tmp")
            try:
                statistics.save(totals, fresh)
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
        for old in _kept(lake, study, splits):
            if old != final and _models(old) <= n_models:
                old.unlink(missing_ok=True)
                _fit_part(old).unlink(missing_ok=True)


def read_models(lake: Lake, study: Study, index: int, splits: tuple[str, ...]) -> dict[str, NDArray]:
    """Models of one fit partition that ended well: `ids`, `init_ids`, `masks` (packed) and `margins` [n, n_targets] float16.

    CorruptError when masks and margins are not of as many models and examples as each other and the dataset.
    """
    models, drawn = (Partition(table, study.name, "fit", index) for table in ("margins", "masks"))
    rows = lake.read(models, ["model_id", "init_id", "status", *(f"{split}_margin" for split in splits)])
    expected, n_models = sizes(study), len(masks.mask_ids(study, "fit", index))
    if len(rows) != n_models:
        raise unusable(models, f"does not hold {n_models} models")
    packed = masks.read(lake, drawn, n_models, expected["train"])
    ok = np.array([status == "ok" for status in rows["status"].to_pylist()])
    lists = {split: rows[f"{split}_margin"].combine_chunks() for split in splits}
    for split, column in lists.items():
        if {length for length in pc.list_value_length(column).to_pylist() if length is not None} - {expected[split]}:  # pyright: ignore[reportAttributeAccessIssue]
            raise unusable(models, f"does not hold margins of {expected[split]} {split} examples")
        if not np.array_equal(ok, column.is_valid().to_numpy(zero_copy_only=False)):
            raise unusable(models, f"does not hold {split} margins exactly where the status is ok")
    values = [a.flatten().to_numpy(zero_copy_only=False).reshape(-1, expected[split]) for split, a in lists.items()]
    ids, init_ids = rows["model_id"].to_numpy()[ok], rows["init_id"].to_numpy()[ok]
    return {"ids": ids, "init_ids": init_ids, "masks": packed[ok], "margins": np.concatenate(values, 1)}


def sizes(study: Study) -> dict[str, int]:
    """Examples of each split."""
    data = datasets.load(study.dataset)
    return {"test": len(data.test_labels), "train": len(data.train_labels)}


def _inside(models: dict[str, NDArray], first: int, end: int) -> dict[str, NDArray]:
    """Those of the models whose ids are from `first` to before `end`."""
    rows = (models["ids"] >= first) & (models["ids"] < end)
    return {name: column[rows] for name, column in models.items()}


def _add_models(study: Study, batch: list[dict[str, NDArray]], pair: Pair | None) -> Pair:
    if pair is None:
        shape = sizes(study)["train"], batch[0]["margins"].shape[1], _groups(study)
        pair = statistics.empty(*shape), statistics.empty(*shape)
    for totals, heldout in zip(pair, (False, True), strict=True):
        parts = []
        for models in batch:
            rows = (models["ids"] % HELDOUT_EVERY == HELDOUT_EVERY - 1) == heldout
            groups = models["init_ids"][rows] % _pool(study) + _pool(study) * masks.places(study, models["ids"][rows])
            parts.append((models["masks"][rows], models["margins"][rows], groups))
        statistics.add_parts(totals, parts)
    return pair


def _pool(study: Study) -> int:
    return study.pool if study.pool <= POOL_LIMIT else 1


def _groups(study: Study) -> int:
    """Groups within which masks and margins are centred: models of one initialisation and alpha."""
    return _pool(study) * max(len(study.fit_alphas), 1)


def _newest(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...]) -> tuple[int, Pair | None]:
    """The largest totals kept of at most `n_models` models, and how many those are; (0, None) when there are none."""
    for path in _kept(lake, study, splits):
        models = _models(path)
        usable = models == n_models or (models < n_models and models % study.partition_models == 0)
        if usable and path == _path(lake, study, models, splits):
            try:
                return models, (statistics.load(_fit_part(path)), statistics.load(path))
            except (OSError, ValueError):
                path.unlink(missing_ok=True)  # a damaged cache is made again from the lake
    return 0, None


def _kept(lake: Lake, study: Study, splits: tuple[str, ...]) -> list[Path]:
    """Totals that are there, those of most models first, each by the path of its held-out part."""
    folder = lake.files.cache / "totals" / study.name
    return sorted(folder.glob(f"*-{'-'.join(splits)}-*-heldout.npz"), key=_models, reverse=True)


def _path(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...]) -> Path:
    """Where the held-out part of totals lies: the name says whose contents were summed."""
    there = lake.present("margins", study.name)
    used = [Partition("margins", study.name, "fit", i) for i in range(-(-n_models // study.partition_models))]
    facts = lake.facts({p: there[p] for p in used})
    summed = fingerprint([[facts[p].fingerprint, facts[p].content] for p in used])
    return lake.files.cache / "totals" / study.name / f"{summed}-{'-'.join(splits)}-{n_models}-heldout.npz"


def _fit_part(heldout: Path) -> Path:
    return heldout.with_name(heldout.name.replace("-heldout.npz", "-fit.npz"))


def _models(path: Path) -> int:
    return int(path.stem.rsplit("-", 2)[1])
