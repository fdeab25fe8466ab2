"""Bring masks, margins and weights that others have made into a lake as an adopted study.

The form is that of the released datamodels data and of TRAK (arXiv 2303.14186): masks [n_models, n_train] of 0 and 1, margins
[n_models, n_test], and sometimes a flag [n_models] that is set when a model was finished: rows without it are zeros and never
numbers. Where weights come with them, so do fits and predictions (builders/adopt_fits.py). An adopted study says so in its
identity, with the SHA-256 of what it was made from, and no rule of ours is held against it.
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import adopt_fits, adopt_source
from builders.adopt_source import Models, Source, Survey
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition, check_name
from lake.store import Lake

RULES = "adopted"


def adopt(lake: Lake, name: str, source: Source) -> list[Partition]:
    """Publish the source as study `name`; the partitions that were added. A second call with the same files adds nothing.

    UsageError when the files do not fit together, ConflictError when the lake holds other rows under the name.
    """
    n_models = len(adopt_source.check_source(source).masks)
    check_name(name, "study")
    survey = adopt_source.look_over(source)
    forms = adopt_fits.forms(source, survey)
    identity, added = _identity(source, survey, forms), []
    for partition, made in _models_tables(source, name, survey, n_models):
        added += _publish(lake, partition, made, identity)
    for partition, made in adopt_fits.tables(lake, source, name, survey, forms):
        added += _publish(lake, partition, made, identity)
    return added


def _models_tables(source: Source, name: str, survey: Survey, n_models: int) -> Iterator[tuple[Partition, pa.Table]]:
    n_fit = n_models - source.heldout
    for role, first, last in (("fit", 0, n_fit), ("heldout", n_fit, n_models)):
        for index, start in enumerate(range(first, last, adopt_source.MODELS)):
            models = adopt_source.read_models(source, slice(start, min(start + adopt_source.MODELS, last)))
            for table, made in _tables(models, name, role, start - first, survey):
                yield Partition(table, name, role, index), made


def _tables(models: Models, name: str, role: str, first: int, survey: Survey) -> Iterator[tuple[str, pa.Table]]:
    """The tables masks and margins of models whose ids begin at `first`."""
    n = len(models.status)
    ids = np.arange(first, first + n)
    keys = {"study_id": [name] * n, "role": [role] * n, "mask_id": ids}
    packed = [row.tobytes() for row in np.packbits(models.masks, axis=1)]
    drawn = {"alpha": [survey.alpha] * n, "design": [survey.design] * n, "mask": packed}
    yield "masks", adopt_fits.table_of("masks", {**keys, **drawn})
    nothing = dict.fromkeys(("test_accuracy", "train_accuracy", "train_margin"), [None] * n)
    margins = {f"{split}_margin": _lists(found, models.status == "ok") for split, found in models.margins.items()}
    own = {"model_id": ids, "init_id": ids, "repeat": np.zeros(n, int), "status": models.status.tolist()}
    yield "margins", adopt_fits.table_of("margins", {**keys, **nothing, **own, **margins})


def _lists(values: NDArray[np.float32], ok: NDArray[np.bool_]) -> list[NDArray[np.float16] | None]:
    return [row.astype(np.float16) if good else None for row, good in zip(values, ok, strict=True)]


def _publish(lake: Lake, partition: Partition, made: pa.Table, identity: dict[str, Any]) -> list[Partition]:
    failed = sum(s != "ok" for s in made["status"].to_pylist()) if partition.table == "margins" else 0
    key = (partition.table, partition.value, partition.role, partition.index)
    facts = Facts(*key, fingerprint(identity), identity, n_failed=failed, code=version("datamodels-lake"))
    return [partition] if lake.publish(partition, made, facts).new else []


def _identity(source: Source, survey: Survey, forms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    described = {
        "origin": source.origin,
        "n_train": len(survey.share),
        "heldout": source.heldout,
        "sha256": adopt_source.digests(source),
        **({"weights": forms} if forms else {}),
    }
    return {
        **{"adopted": described, "dataset": {"name": source.dataset}, "alpha": survey.alpha, "design": survey.design},
        **{"margin": source.margin, "rules": RULES},
    }
