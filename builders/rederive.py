"""Deep checks of a study's partitions: what the rules say about masks and seeds, and what chance says about margins.

Masks, mask ids, initialisations and repeats are pure functions of the identity that each footer carries, so they are derived
again and compared by bit; those of counterfactuals follow from the table removals, whose predictions follow from weights
(builders/rederive_removals.py), as do those of supports, whose sets follow from one order (builders/rederive_supports.py), and
those of fits (builders/rederive_fits.py); images follow from their hashes (builders/rederive_examples.py).
Margins cannot be, but their means can be judged: a partition whose models differ from the others' by more than chance allows
was trained on something else.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders import margins, masks, rederive_examples, rederive_fits, rederive_removals, rederive_supports
from builders.study import ESTIMATORS, RULES, Study, parse
from lake.errors import UsageError
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.verify import SET_ASIDE, Problem

JUDGED = ("masks", "margins", "removals", "supports", "fits")
"""Tables whose rows follow from an identity, or from other tables; weights and predictions are judged with their fits."""

Z_LIMIT = 6.0
"""Standard errors between a partition's mean margin and the others'; chance passes it once in 500 million."""


def check(lake: Lake, facts: dict[Partition, Facts]) -> Iterator[Problem]:
    """Problems of one study's or dataset's partitions: models first, then fits, judged by models of which nothing bad is known.

    Adopted studies, and tables that no rule is known for, are left alone.
    """
    n_train, odd = _lengths(lake, facts)
    bad = set()
    for problem in _check_models(lake, facts, n_train, odd):
        bad.add(problem.path)
        yield problem
    sound = {p: f for p, f in facts.items() if p.path not in bad}
    fits = [p for p, f in sound.items() if p.table == "fits" and p.role in ESTIMATORS and f.identity.get("rules") == RULES]
    if fits:
        study = study_of(fits[0], facts[fits[0]])
        yield from rederive_fits.check(rederive_fits.Sound(lake, study, sound.keys(), n_train), fits)


def _lengths(lake: Lake, facts: dict[Partition, Facts]) -> tuple[int | None, set[Partition]]:
    """How many training examples the models saw, and partitions with margins of other numbers than most, or of none."""
    widths = {p: _widths(lake, p) for p in facts if p.table == "margins"}
    usual = Counter(width for found in widths.values() for width in found.elements()).most_common(1)
    odd = {p for p, found in widths.items() if any(key != usual[0][0] or 0 in key for key in found)}
    return (usual[0][0][1] if usual else None), odd


def _check_models(lake: Lake, facts: dict[Partition, Facts], n_train: int | None, odd: set[Partition]) -> Iterator[Problem]:
    """Problems of everything but fits."""
    for partition in sorted(odd, key=lambda p: p.path):
        yield Problem(partition.path, "its margins are not of as many examples as the other models', or of none", SET_ASIDE)
    for partition, found in facts.items():
        if partition.table == "examples":
            yield from rederive_examples.check(lake, partition)
        elif partition.table in JUDGED and found.identity.get("rules") == RULES:
            yield from _check_rows(lake, partition, facts, n_train, partition in odd)
    fitted = [p for p in facts if p.table == "margins" and p.role == "fit" and p not in odd]
    yield from _check_means(lake, fitted)
    yield from _check_copies(lake, fitted)


def _check_rows(
    lake: Lake, partition: Partition, facts: dict[Partition, Facts], n_train: int | None, odd: bool
) -> Iterator[Problem]:
    """Problems of one partition of a study that we planned; `odd`: its margins are not of as many examples as others'."""
    found = facts[partition]
    if found.fingerprint != fingerprint(found.identity):
        yield Problem(partition.path, f"fingerprint {found.fingerprint} is not that of its identity", SET_ASIDE)
        return
    if partition.table == "supports":
        yield from rederive_supports.check(lake, partition, facts, n_train)
        return
    try:
        study = study_of(partition, found)
    except (KeyError, UsageError) as error:
        yield Problem(partition.path, f"its identity is that of no study ({error})", SET_ASIDE)
        return
    if what := _unusable(lake, partition):
        yield Problem(partition.path, what, SET_ASIDE)
        return
    if partition.table == "margins" and not odd and (what := _wrong_outcomes(lake, partition, study)):
        yield Problem(partition.path, what, SET_ASIDE)
    if partition.table == "fits":
        return  # judged when it is known which models are sound
    if partition.role not in ("fit", "heldout"):
        yield from rederive_removals.check(lake, partition, study, facts, n_train)
    elif partition.table == "masks":
        yield from _check_masks(lake, partition, study, n_train)
    else:
        yield from _check_seeds(lake, partition, study)


def _unusable(lake: Lake, partition: Partition) -> str:
    """Why masks or models cannot be compared with anything; empty when they can."""
    if partition.table not in ("masks", "margins"):
        return ""
    rows = lake.read(partition, ["mask" if partition.table == "masks" else "model_id"])
    if not len(rows):
        return "it has no rows"
    lengths = set(map(len, rows["mask"].to_pylist())) if partition.table == "masks" else {1}
    return f"masks are of {len(lengths)} lengths" if len(lengths) > 1 else "masks are empty" if lengths == {0} else ""


def study_of(partition: Partition, facts: Facts) -> Study:
    """The study that a footer's identity describes, as far as masks and seeds go."""
    kept = ("alpha", "design", "margin", "seed", "pool", "heldout_masks", "heldout_repeats", "partition_models")
    fields = {name: facts.identity[name] for name in (*kept, *({"fit_alphas"} & facts.identity.keys()))}
    return parse({"name": partition.value, "algorithm": {"name": "patchnet"}, **fields}, partition.path)


def _check_masks(lake: Lake, partition: Partition, study: Study, n_train: int | None) -> Iterator[Problem]:
    rows = lake.read(partition)
    ids, width = rows["mask_id"].to_numpy(), len(rows["mask"][0].as_py())
    if not np.array_equal(ids, masks.mask_ids(study, partition.role, partition.index)):
        yield Problem(partition.path, "mask ids are not those of this partition", SET_ASIDE)
    else:
        sizes = [n_train] if n_train else range(8 * width, 8 * width - 8, -1)
        wrong = min((_wrong(study, partition.role, ids, masks.packed_bits(rows), n) for n in sizes), key=len)
        if len(wrong):
            yield Problem(partition.path, f"{len(wrong)} masks are not those of their ids (first: {wrong[0]})", SET_ASIDE)
        elif not np.array_equal(rows["alpha"].to_numpy(), masks.shares(study, partition.role, ids)):
            yield Problem(partition.path, "alpha is not what the study gives its masks", SET_ASIDE)
        elif rows["design"].unique().to_pylist() != [study.design]:
            yield Problem(partition.path, f"design is not {study.design}, the study's", SET_ASIDE)


def _wrong(study: Study, role: str, ids: NDArray[np.int32], packed: NDArray[np.uint8], n_train: int) -> NDArray[np.int32]:
    """Ids whose masks are not those that the study draws for so many training examples."""
    try:
        expected = np.packbits(masks.draw(study, n_train, role, ids.astype(np.int64)), axis=1)
    except UsageError:
        return ids  # the study draws none for so few
    return ids[(packed != expected).any(1)] if packed.shape == expected.shape else ids


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


def _wrong_outcomes(lake: Lake, partition: Partition, study: Study) -> str:
    """What is wrong with statuses and test accuracies, given the margins; empty when nothing is."""
    rows = lake.read(partition, ["status", "test_accuracy", "test_margin", "train_margin"])
    ok = rows["status"].to_numpy() == "ok"
    for name in ("test_margin", "train_margin"):
        if not np.array_equal(ok, rows[name].is_valid().to_numpy()):
            return f"{name} is not there exactly where the status is ok"
    if study.margin != "max" or not ok.any():
        return ""
    found, told = rederive_fits.matrix(rows["test_margin"]), rows["test_accuracy"].to_numpy()[ok]
    right, open_ = (found > 0).mean(1), (found == 0).mean(1)  # 0 in half precision may be right or wrong
    if not ((told >= right - 1e-6) & (told <= right + open_ + 1e-6)).all():
        return "test accuracies are not the share of positive margins"
    return ""


def _check_means(lake: Lake, partitions: list[Partition]) -> Iterator[Problem]:
    """z-test of each partition's mean margin; with fewer than three there is nobody to agree with.

    Against the median of the means, with the median of the variances: one strange partition does not make the others look so.
    """
    found = {p: own for p in partitions if len(own := _model_means(lake, p)) > 1}
    if len(found) < 3:
        return
    centre = np.median([own.mean() for own in found.values()])
    variance = np.median([own.var(ddof=1) for own in found.values()])
    of_centre = np.pi / 2 * variance / sum(len(own) for own in found.values())
    for partition, own in found.items():
        z = (own.mean() - centre) / np.sqrt(variance / len(own) + of_centre + 1e-12)
        if abs(z) > Z_LIMIT:
            yield Problem(partition.path, f"its mean margin is {z:+.1f} standard errors from the other partitions'", SET_ASIDE)


def _check_copies(lake: Lake, partitions: list[Partition]) -> Iterator[Problem]:
    """Partitions of which most models have the very margins of an earlier one: they were not trained on masks of their own.

    Models that are alike within their partition are left alone: a learning algorithm may give few different answers.
    """
    first: dict[bytes, Partition] = {}
    for partition in partitions:
        lists = lake.read(partition, ["test_margin"])["test_margin"].drop_null()
        own = [hashlib.sha256(value.values.to_numpy(zero_copy_only=False).tobytes()).digest() for value in lists]
        known = Counter(first[digest] for digest in own if first.setdefault(digest, partition) != partition)
        for other, n_equal in known.most_common(1):
            if n_equal > len(own) / 2 and len(set(own)) == len(own):
                what = f"{n_equal} of its models have the margins of models in {other.path}: a seed was reused or rows copied"
                yield Problem(partition.path, what, SET_ASIDE)


def _model_means(lake: Lake, partition: Partition) -> NDArray[np.float64]:
    """Mean test margin of each model that ended well [n_models] float64."""
    lists = lake.read(partition, ["test_margin"])["test_margin"]
    if lists.null_count == len(lists):
        return np.zeros(0)
    return rederive_fits.matrix(lists).mean(1, dtype=np.float64)


def _widths(lake: Lake, partition: Partition) -> Counter[tuple[int, int]]:
    """How many models have margins on so many (test, train) examples."""
    rows = lake.read(partition, ["test_margin", "train_margin"])
    test, train = (pc.list_value_length(rows[name]).to_pylist() for name in rows.column_names)  # pyright: ignore[reportAttributeAccessIssue]
    return Counter((a, b) for a, b in zip(test, train, strict=True) if a is not None and b is not None)
