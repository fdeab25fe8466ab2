"""Deep checks of a study's partitions: what the rules say about masks and seeds, and what chance says about margins.

Masks, mask ids, initialisations and repeats are pure functions of the identity that each footer carries, so they are derived
again and compared by bit. Margins cannot be, but their means can be judged: a partition whose models differ from the
others' by more than chance allows was trained on something else.
"""

from collections.abc import Iterator

import numpy as np

from builders import margins, masks
from builders.study import RULES, Study, parse
from lake.parquet import Facts
from lake.store import Lake
from lake.tables import Partition
from lake.verify import SET_ASIDE, Problem

Z_LIMIT = 6.0
"""Standard errors between a partition's mean margin and the others'; chance passes it once in 500 million."""


def check(lake: Lake, facts: dict[Partition, Facts]) -> Iterator[Problem]:
    """Problems of one study's masks and margins; partitions of other tables and of adopted studies are left alone."""
    for partition, found in facts.items():
        if partition.table == "masks" and found.identity.get("rules") == RULES:
            yield from _check_masks(lake, partition, study_of(partition, found))
        if partition.table == "margins" and found.identity.get("rules") == RULES:
            yield from _check_seeds(lake, partition, study_of(partition, found))
    yield from _check_means(lake, [p for p in facts if p.table == "margins" and p.role == "fit"])


def study_of(partition: Partition, facts: Facts) -> Study:
    """The study that a footer's identity describes, as far as masks and seeds go."""
    kept = ("alpha", "design", "margin", "seed", "pool", "heldout_masks", "heldout_repeats", "partition_models")
    fields = {name: facts.identity[name] for name in kept}
    return parse({"name": partition.value, "algorithm": {"name": "patchnet"}, **fields}, partition.path)


def _check_masks(lake: Lake, partition: Partition, study: Study) -> Iterator[Problem]:
    rows = lake.read(partition)
    ids = rows["mask_id"].to_numpy()
    packed = masks.packed_bits(rows)
    n_train = _n_train(lake, partition.value) or packed.shape[1] * 8
    expected = np.packbits(masks.draw(study, n_train, partition.role, ids), axis=1)
    if not np.array_equal(ids, masks.mask_ids(study, partition.role, partition.index)):
        yield Problem(partition.path, "mask ids are not those of this partition", SET_ASIDE)
    elif not np.array_equal(packed, expected):
        wrong = ids[(packed != expected).any(1)]
        yield Problem(partition.path, f"{len(wrong)} masks are not those of their ids (first: {wrong[0]})", SET_ASIDE)


def _check_seeds(lake: Lake, partition: Partition, study: Study) -> Iterator[Problem]:
    rows = lake.read(partition, ["model_id", "mask_id", "init_id", "repeat"])
    ids = margins.model_ids(study, partition.role, partition.index)
    expected = dict(zip(("mask_id", "init_id", "repeat"), margins.keys(study, partition.role, ids), strict=True))
    if not np.array_equal(rows["model_id"].to_numpy(), ids):
        yield Problem(partition.path, "model ids are not those of this partition", SET_ASIDE)
        return
    for name, values in expected.items():
        if not np.array_equal(rows[name].to_numpy(), values):
            yield Problem(
                partition.path,
                f"{name} is not what the model ids give: a seed was reused or rows were moved",
                SET_ASIDE,
            )


def _check_means(lake: Lake, partitions: list[Partition]) -> Iterator[Problem]:
    """z-test of each partition's mean margin against all others; with fewer than three there is nobody to agree with."""
    if len(partitions) < 3:
        return
    means = [_model_means(lake, p) for p in partitions]
    for i, (partition, own) in enumerate(zip(partitions, means, strict=True)):
        rest = np.concatenate(means[:i] + means[i + 1 :])
        if len(own) < 2 or len(rest) < 2:
            continue
        z = (own.mean() - rest.mean()) / np.sqrt(rest.var() / len(own) + rest.var() / len(rest) + 1e-12)
        if abs(z) > Z_LIMIT:
            yield Problem(partition.path, f"its mean margin is {z:+.1f} standard errors from the other partitions'", SET_ASIDE)


def _model_means(lake: Lake, partition: Partition) -> np.ndarray:
    """Mean test margin of each model that ended well [n_models] float64."""
    lists = lake.read(partition, ["test_margin"])["test_margin"].combine_chunks()
    n_ok = len(lists) - lists.null_count
    return lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(n_ok, -1).mean(1, dtype=np.float64)


def _n_train(lake: Lake, study: str) -> int | None:
    """Training examples, from the first margins that are there."""
    for partition in lake.present("margins", study):
        lists = lake.read(partition, ["train_margin"])["train_margin"].combine_chunks().drop_null()
        if len(lists):
            return len(lists[0])
    return None
