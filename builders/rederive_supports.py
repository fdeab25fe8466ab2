"""Deep checks of the table supports: sets of one search are beginnings of one order, verdicts follow from the margins that are
stored beside them, and predictions from the fit's weights and from the margins that nothing was changed for.

Whether a set's models were trained as the row says is not judged: that takes training (builders/retrain.py).
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from builders.rederive_removals import ROUNDING, weight_of
from lake.parquet import Facts
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.verify import SET_ASIDE, Problem

UNSURE = 1e-4
"""A mean margin so near to 0 [logit] may be rounded to either side."""

Row = dict[str, Any]


def check(lake: Lake, partition: Partition, facts: dict[Partition, Facts], n_train: int | None) -> Iterator[Problem]:
    """Problems of one partition of supports."""
    rows = lake.read(partition).to_pylist()
    for key, found in groupby(rows, lambda row: (row["target_id"], row["method"], row["change"])):
        search = list(found)
        if what := _wrong_sets(search, n_train) or _wrong_verdicts(search):
            yield Problem(partition.path, f"target {key[0]}, {key[1]}, {key[2]}: {what}", SET_ASIDE)
            return
    if what := _wrong_predictions(lake, partition, facts, rows, n_train):
        yield Problem(partition.path, what, SET_ASIDE)


def _wrong_sets(search: list[Row], n_train: int | None) -> str:
    """What is wrong with the sets of a search, in order of its steps."""
    longest = max((row["changed"] for row in search), key=len)
    if len(set(longest)) != len(longest) or min(longest, default=0) < 0 or (n_train and max(longest, default=0) >= n_train):
        return "a set names an example twice, or one that is not there"
    for step, row in enumerate(search):
        if row["step"] != step or row["size"] != len(row["changed"]) or (step == 0 and row["size"]):
            return f"step {row['step']} has {len(row['changed'])} of {row['size']} examples in place {step}"
        if row["changed"] != longest[: row["size"]]:
            return f"the set of step {step} is no beginning of the order of the others"
    labels = {row["label"] for row in search}
    return "" if len(labels) == 1 and (None in labels) == (search[0]["change"] == "removal") else f"its labels are {labels}"


def _wrong_verdicts(search: list[Row]) -> str:
    """Steps that are said to flip, and do not, or the other way about."""
    for row in search:
        mean = float(np.mean(row["margins"], dtype=np.float32)) if row["margins"] else 0.0
        if row["flips"] != (mean < 0) and abs(mean) > UNSURE:
            return f"step {row['step']} has the mean margin {mean:.3f} and flips = {row['flips']}"
    return ""


def _wrong_predictions(
    lake: Lake, partition: Partition, facts: dict[Partition, Facts], rows: list[Row], n_train: int | None
) -> str:
    """Removals that are not predicted to take their weights from the mean margin with nothing changed."""
    for fit in sorted({row["fit"] for row in rows}):
        named = parse_path(f"weights/study={partition.value}/{fit}.parquet")
        if named is None or named not in facts or not n_train:
            continue
        weights, own = weight_of(lake, named), [r for r in rows if r["fit"] == fit and r["change"] == "removal"]
        start = {
            row["target_id"]: np.mean(row["margins"], dtype=np.float32) for row in own if not row["size"] and row["margins"]
        }
        for row in (row for row in own if row["target_id"] in start and row["predicted_margin"] is not None):
            expected = start[row["target_id"]] - sum(weights.get((row["target_id"], i), 0.0) for i in row["changed"])
            if abs(row["predicted_margin"] - expected) > ROUNDING * max(1, abs(expected)):
                return f"target {row['target_id']}, {row['method']}, step {row['step']}: its prediction is not that of {fit}"
    return ""
