"""The table supports: the smallest set whose removal, or whose relabelling, flips a target, searched by retraining.

Ilyas et al. 2022 (data support, and its mislabelled variant): take away the first k training examples in a method's order,
or give them the label of the class that comes second for the target, train again, and bisect k (builders/search.py). Every
try is a row with the margins of its models, which are coupled to models trained on everything as in
builders/counterfactuals.py. Nearest neighbours in the networks' own features are the baseline (Singla et al., arXiv
2311.03386).

A relabelled example is another example: a copy with the other label joins the dataset, and a mask takes the one or the other.
So any learning algorithm can be asked, and nothing about labels is said to it. A unit is a block of targets, which are
searched side by side, so that a group of models is full.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import orders
from builders.margins import GROUP, margin, train_group
from builders.search import TOLERANCE, Search
from builders.study import Study
from builders.training.interface import Data, Trainer
from builders.unit import Unit
from lake.errors import LakeError
from lake.fingerprint import fingerprint
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "supports"
BUILDS: tuple[str, ...] = ("supports",)

BLOCK = 10
"""Targets of a unit."""

TRIES = 6
"""Sets that a search tries, about: what seconds are predicted from."""

RULES = 1
"""Version of the rules by which sets are searched."""

Ids = NDArray[np.int64]
Floats = NDArray[np.floating]


class Try(NamedTuple):
    """A set: its size, whether it was to be confirmed, and the margins of the target that its models gave [n_models]."""

    size: int
    confirming: bool
    margins: Floats

    @property
    def flips(self) -> bool:
        """Whether the mean margin is below 0; not when no model ended well."""
        return bool(len(self.margins)) and float(self.margins.mean()) < 0


@dataclass(frozen=True)
class Case:
    """A search: the examples to change in order, and what became of those tried."""

    target_id: int
    method: str
    first: Ids
    """Training examples to change first [most]."""
    predicted: Floats | None
    """Predicted margin by number of changed examples [most + 1]; None where a fit predicts nothing."""
    search: Search
    tries: list[Try]
    """In order; the first one changes nothing."""
    label: int | None = None
    """Class that they get; None when they are removed."""
    copies: Ids | None = None
    """Positions of the relabelled copies in the dataset that has them [most]."""

    def mask(self, size: int, n_train: int, n_rows: int) -> NDArray[np.bool_]:
        """Mask [n_rows] that changes the first `size` of `n_train` examples, which copies may follow."""
        mask = np.arange(n_rows) < n_train
        mask[self.first[:size]] = False
        if self.copies is not None:
            mask[self.copies[:size]] = True
        return mask


def role(study: Study) -> str:
    """Role of the partitions: `support-` and eight hex digits that change with what is asked and with the fit."""
    described = {"rules": RULES, "block": BLOCK, "tolerance": TOLERANCE, "fit": orders.fit_partition(study).name}
    return f"support-{fingerprint({**described, **study.support.model_dump(mode='json')})[:8]}"


def plan(study: Study) -> list[Unit]:
    """A unit a block of targets; none without support.targets."""
    asked, needs = study.support, orders.needed(study, study.support.methods)
    a_target = 2 * len(asked.methods) * (TRIES * asked.repeats + asked.confirmations)
    sizes = [min(BLOCK, asked.targets - first) for first in range(0, asked.targets, BLOCK)]
    named = [Partition("supports", study.name, role(study), index) for index in range(len(sizes))]
    return [Unit(NAME, (partition,), needs, n * a_target) for partition, n in zip(named, sizes, strict=True)]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """Search the sets of one block of targets: removals, then relabellings, which begin from what was found for removals."""
    partition = unit.partitions[0]
    targets = orders.chosen_targets(study, study.support.targets, 1)[partition.index * BLOCK :][:BLOCK]
    evidence = orders.Evidence(lake, study, targets)
    data, n_train = evidence.data, len(evidence.data.train_labels)
    repeats = np.arange(study.support.repeats + study.support.confirmations)
    whole = _logits(study, study.algorithm.prepare(data), data, np.ones((len(repeats), n_train), bool), repeats)
    removals = _removals(evidence, whole)
    _search(study, data, n_train, removals)
    relabelled, relabellings = _relabellings(evidence, removals, whole)
    _search(study, relabelled, n_train, relabellings)
    yield partition, _table(study, partition.role, removals + relabellings)


def _removals(evidence: orders.Evidence, whole: Floats) -> list[Case]:
    """A search for each target and method that begins where the prediction crosses zero."""
    asked, n_train = evidence.study.support, len(evidence.data.train_labels)
    most = max(int(asked.most * n_train), 1)
    first = {method: orders.order(evidence, method, most) for method in asked.methods}
    before = _margins(evidence.study, evidence.data, whole)[:, evidence.targets]
    cases = []
    for (place, target), method in product(enumerate(evidence.targets.tolist()), asked.methods):
        ids, start = first[method][place], Try(0, False, _finite(before[:, place]))
        predicted = start.margins.mean() - np.concatenate([[0], evidence.weights[place, ids].cumsum()])
        crossed = np.flatnonzero(predicted < 0)
        search = Search(max(int(crossed[0]), 1) if len(crossed) else most, most)
        cases.append(Case(target, method, ids, predicted, search, [start]))
    return cases


def _relabellings(evidence: orders.Evidence, removals: list[Case], whole: Floats) -> tuple[Data, list[Case]]:
    """The dataset with relabelled copies behind it, and a search for each removal that was searched.

    The new label is the class that comes second for the target. A removal that flips the target bounds the number from above
    in nearly every case, and to relabel counts about twice as much: the class next door also wins what this one loses.
    """
    data = evidence.data
    logits = np.nanmean(whole, axis=0)
    copies: dict[tuple[int, int], int] = {}
    cases: list[Case] = []
    for case in removals:
        scores = logits[case.target_id].copy()
        scores[data.test_labels[case.target_id]] = -np.inf
        label = int(scores.argmax())
        ids = case.first[data.train_labels[case.first] != label][: case.search.high or case.search.most]
        at = [copies.setdefault((i, label), len(data.train_labels) + len(copies)) for i in ids.tolist()]
        search = Search(max(len(ids) // 4, 1), len(ids))  # over at once when every one has that label
        made = replace(case, first=ids, predicted=None, search=search, tries=case.tries[:1], label=label)
        cases.append(replace(made, copies=np.array(at, np.int64)))
    sources, labels = np.array(list(copies), np.int64).reshape(-1, 2).T
    images = np.concatenate([data.train_images, data.train_images[sources]])
    return replace(data, train_images=images, train_labels=np.concatenate([data.train_labels, labels])), cases


def _search(study: Study, data: Data, n_train: int, cases: Sequence[Case]) -> None:
    """Take each search to its end, one try of every open one at a time."""
    train, n_rows = study.algorithm.prepare(data), len(data.train_labels)
    while todo := [(c, step) for c in cases if c.tries[0].margins.mean() > 0 and (step := c.search.step())]:
        masks = [case.mask(size, n_train, n_rows) for case, (size, _) in todo]
        repeats = [_repeats(study, confirming) for _, (_, confirming) in todo]
        mask_of = np.repeat(np.arange(len(todo)), [len(each) for each in repeats])
        found = _margins(study, data, _logits(study, train, data, np.stack(masks)[mask_of], np.concatenate(repeats)))
        for place, (case, (size, confirming)) in enumerate(todo):
            case.tries.append(Try(size, confirming, _finite(found[mask_of == place, case.target_id])))
            case.search.saw(size, confirming, case.tries[-1].flips)


def _repeats(study: Study, confirming: bool) -> Ids:
    """Which coupled models try a set: the first ones, or to confirm those that follow."""
    first = study.support.repeats
    return np.arange(first, first + study.support.confirmations) if confirming else np.arange(first)


def _logits(study: Study, train: Trainer, data: Data, masks: NDArray[np.bool_], repeats: Ids) -> Floats:
    """Logits of test examples [n_models, n_test, n_classes] of models trained on `masks`; NaN where one did not end well."""
    group = orders.coupled(study, masks, repeats)
    parts = [group.take(np.arange(a, min(a + GROUP, len(masks)))) for a in range(0, len(masks), GROUP)]
    outcomes = [train_group(train, part, data) for part in parts]
    ended = np.concatenate([status == "ok" for _, status, _ in outcomes])
    if not ended.any():
        why = outcomes[0][2] or "outputs that are not finite"
        raise LakeError(f"every model failed, first with: {why}; mend the recipe, then run the same command again")
    return np.where(ended[:, None, None], np.concatenate([logits.test for logits, *_ in outcomes]), np.nan)


def _margins(study: Study, data: Data, logits: Floats) -> Floats:
    """Margins of test examples [n_models, n_test]."""
    return margin(logits, data.test_labels, study.margin)


def _finite(margins: Floats) -> Floats:
    """Margins of the models that ended well, as they are stored."""
    return margins[np.isfinite(margins)].astype(np.float16).astype(np.float32)


def _table(study: Study, role: str, cases: list[Case]) -> pa.Table:
    """A row a try, by target, method, change and step."""
    order = sorted(cases, key=lambda case: (case.target_id, case.method, _change(case)))
    rows = [_row(study, role, case, step) for case in order for step in range(len(case.tries))]
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in TABLES["supports"].schema]
    return pa.table(columns, schema=TABLES["supports"].schema)


def _change(case: Case) -> str:
    return "removal" if case.label is None else "relabelling"


def _row(study: Study, role: str, case: Case, step: int) -> dict[str, object]:
    tried = case.tries[step]
    predicted = None if case.predicted is None else float(case.predicted[tried.size])
    return {
        **{"study_id": study.name, "role": role, "target_id": case.target_id, "method": case.method, "change": _change(case)},
        **{"step": step, "size": tried.size, "confirming": tried.confirming, "changed": case.first[: tried.size].tolist()},
        **{"label": case.label, "predicted_margin": predicted, "margins": tried.margins.astype(np.float16)},
        **{"flips": tried.flips, "fit": orders.fit_partition(study).name},
    }
