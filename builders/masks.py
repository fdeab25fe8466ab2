"""The table masks: which training examples each model sees.

Paper section 2: subsets of a fixed share alpha, drawn uniformly. A mask is a pure function of (seed, role, mask_id):
`fixed` keeps the round(alpha n) examples with the smallest words, `bernoulli` keeps those whose uniform is below alpha. Fit
and held-out masks come from separate streams, so no held-out mask is a fit mask by construction.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import counter, datasets
from builders.study import Study
from builders.unit import Unit
from lake.errors import UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import unusable

NAME: str = "masks"
BUILDS: tuple[str, ...] = ("masks",)


def plan(study: Study) -> list[Unit]:
    """Fit masks, one a model, then held-out masks; a partition holds the masks of one partition of margins."""
    every = partitions(study, "fit") + partitions(study, "heldout")
    return [Unit(NAME, (p,), rows=len(mask_ids(study, p.role, p.index))) for p in every]


def partitions(study: Study, role: str) -> list[Partition]:
    """The partitions of a role that the study plans."""
    total, size = (study.models, study.partition_models) if role == "fit" else (study.heldout_masks, masks_a_partition(study))
    return [Partition("masks", study.name, role, i) for i in range(-(-total // size))]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The masks of one partition, packed."""
    partition = unit.partitions[0]
    ids = mask_ids(study, partition.role, partition.index)
    drawn = draw(study, len(datasets.load(study.dataset).train_labels), partition.role, ids)
    yield partition, rows_of(partition, ids, drawn, shares(study, partition.role, ids), study.design)


def rows_of(
    partition: Partition, ids: NDArray[np.int64], drawn: NDArray[np.bool_], alpha: NDArray[np.float64], design: str
) -> pa.Table:
    """Rows of the table from masks [n_masks, n_train], packed, with their ids and alpha [n_masks]."""
    n = len(ids)
    columns = {
        "study_id": [partition.value] * n,
        "role": [partition.role] * n,
        "mask_id": ids.astype(np.int32),
        "alpha": alpha,
        "design": [design] * n,
        "mask": [row.tobytes() for row in np.packbits(drawn, axis=1)],
    }
    return pa.table(columns, schema=TABLES["masks"].schema)


def masks_a_partition(study: Study) -> int:
    """Held-out masks whose repeats fill one partition of models."""
    return study.partition_models // study.heldout_repeats


def mask_ids(study: Study, role: str, index: int) -> NDArray[np.int64]:
    """Mask ids of a partition [n_masks]; fit partitions are whole, so that more models add partitions and change none."""
    if role == "fit":
        return np.arange(index * study.partition_models, (index + 1) * study.partition_models)
    size = masks_a_partition(study)
    return np.arange(index * size, min((index + 1) * size, study.heldout_masks))


def places(study: Study, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the study's fit_alphas each fit mask has [n_masks]: every initialisation of the pool meets all of them."""
    return (ids % study.pool + ids // study.pool) % max(len(study.fit_alphas), 1)


def shares(study: Study, role: str, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Alpha of each mask [n_masks]."""
    if role != "fit" or not study.fit_alphas:
        return np.full(len(ids), study.alpha)
    return np.array(study.fit_alphas)[places(study, ids)]


def draw(study: Study, n_train: int, role: str, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Masks [n_masks, n_train] bool of the given ids; UsageError when alpha leaves one empty, or a fixed one whole."""
    word = counter.words(study.seed, f"mask/{role}", ids[:, None], np.arange(n_train)[None])
    alphas = shares(study, role, ids)
    drawn = np.zeros(word.shape, bool)
    for alpha in np.unique(alphas).tolist():
        drawn[alphas == alpha] = _drawn(word[alphas == alpha], alpha, study.design)
    return drawn


def _drawn(word: NDArray[np.uint64], alpha: float, design: str) -> NDArray[np.bool_]:
    """Masks [n_masks, n_train] of one alpha from their words."""
    n_masks, n_train = word.shape
    if design == "bernoulli":
        drawn = counter.uniform(word) < alpha
        if empty := (~drawn.any(1)).sum():
            raise UsageError(
                f"alpha {alpha} leaves {empty} of {n_masks} bernoulli masks of {n_train} training examples empty: "
                "choose a larger alpha or design = 'fixed'"
            )
        return drawn
    size = round(alpha * n_train)
    if not 0 < size < n_train:
        raise UsageError(f"alpha {alpha} of {n_train} training examples keeps {size}: a subset needs 1 to {n_train - 1}")
    threshold = np.partition(word, size - 1, axis=1)[:, size - 1 : size]
    return word <= threshold


def read(lake: Lake, partition: Partition, n_masks: int, n_train: int) -> NDArray[np.uint8]:
    """The packed masks of a partition [n_masks, ceil(n_train / 8)]; CorruptError when they are not so many, or not so long."""
    rows = lake.read(partition, ["mask"])
    if len(rows) != n_masks or {len(mask) for mask in rows["mask"].to_pylist()} != {-(-n_train // 8)}:
        raise unusable(partition, f"does not hold {n_masks} masks of {n_train} training examples")
    return packed_bits(rows)


def unpack(masks: pa.Table, n_train: int) -> NDArray[np.bool_]:
    """The masks of rows of the table [n_masks, n_train] bool."""
    return np.unpackbits(packed_bits(masks), axis=1, count=n_train).astype(bool)


def packed_bits(masks: pa.Table) -> NDArray[np.uint8]:
    """The packed masks of rows of the table [n_masks, ceil(n_train / 8)] uint8."""
    blobs = masks["mask"].to_pylist()
    return np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), -1)
