"""Queries of the theme attribution: lakes worked by hand, and numpy and scipy on a random lake."""

import numpy as np
import pytest
from scipy import stats

EXAMPLES = [{"split": "train", "example_id": i, "label": i % 3} for i in range(5)] + [
    {"split": "test", "example_id": 0, "label": 9}
]
WEIGHTS = [{"target_id": 0, "train_id": i, "weight": w} for i, w in enumerate([0.5, -2.0, 1.0, -0.25, 1.0])]


@pytest.fixture
def weighed(lake_of):
    """One target with three proponents and two opponents; the study is linked to its dataset by a mask."""
    return lake_of(examples=EXAMPLES, masks=[{"mask_id": 0, "mask": "11000"}], fits=[{"target_id": 0}], weights=WEIGHTS)


def test_proponents_of_a_lake_worked_by_hand(weighed, ask):
    rows = ask(weighed, "proponents", target_id=0)
    assert [(r["rank"], r["train_id"], r["weight"], r["label"], r["target_label"]) for r in rows] == [
        (1, 2, 1.0, 2, 9),
        (2, 4, 1.0, 1, 9),
        (3, 0, 0.5, 0, 9),
    ]
    assert [r["train_id"] for r in ask(weighed, "proponents", target_id=0, k=1)] == [2]


def test_opponents_of_a_lake_worked_by_hand(weighed, ask):
    rows = ask(weighed, "opponents", target_id=0)
    assert [(r["rank"], r["train_id"], r["weight"], r["label"]) for r in rows] == [(1, 1, -2.0, 1), (2, 3, -0.25, 0)]


def test_the_newest_fit_that_predicts_best_speaks_unless_another_is_asked_for(weighed, ask, add):
    for fit, n_models, r in (("ridge-00004", 4, 0.9), ("ridge-00009", 9, 0.6), ("lasso-00009", 9, 0.4)):
        add(weighed, "fits", [{"fit": fit, "estimator": fit[:5], "target_id": 0, "n_models": n_models, "validation_r": r}])
        add(weighed, "weights", [{"fit": fit, "target_id": 0, "train_id": 3, "weight": 1.0}])
    assert {row["fit"] for row in ask(weighed, "proponents", target_id=0)} == {"ridge-00009"}
    assert {row["fit"] for row in ask(weighed, "proponents", target_id=0, fit="lasso-*")} == {"lasso-00004", "lasso-00009"}


def test_attributions_of_another_target_split_or_study_are_not_mixed_in(weighed, ask, add):
    add(weighed, "fits", [{"target_id": 0, "split": "train", "fit": "lasso-00005"}, {"target_id": 0, "study_id": "other"}])
    add(weighed, "weights", [{"target_id": 0, "train_id": 1, "weight": 5.0, "split": "train", "fit": "lasso-00005"}])
    add(weighed, "weights", [{"target_id": 0, "train_id": 1, "weight": 7.0, "study_id": "other"}])
    assert [row["weight"] for row in ask(weighed, "proponents", target_id=0, study="toy")] == [1.0, 1.0, 0.5]
    assert [row["weight"] for row in ask(weighed, "proponents", target_id=0, study="toy", split="train")] == [5.0]
    assert {row["study_id"] for row in ask(weighed, "proponents", target_id=0)} == {"toy", "other"}
    assert ask(weighed, "proponents", target_id=1) == []


def test_influence_of_a_lake_worked_by_hand(lake_of, ask):
    masks = [{"mask_id": m, "mask": text} for m, text in enumerate(["1110", "1010", "1001", "1001"])]
    margins = [{"model_id": m, "mask_id": m, "test_margin": [0.0, y]} for m, y in enumerate([1.0, 2.0, 4.0, 5.0])]
    lost = {"model_id": 4, "mask_id": 0, "status": "diverged"}
    held = {"role": "heldout", "model_id": 0, "mask_id": 0, "test_margin": [100.0, 100.0]}
    lake = lake_of(masks=[*masks, {**masks[0], "role": "heldout"}], margins=[*margins, lost, held], examples=EXAMPLES)
    rows = {row["train_id"]: row for row in ask(lake, "influence", target_id=1)}
    assert list(rows) == [3, 1, 2]  # example 0 is in every mask: no model left it out
    assert {i: row["influence"] for i, row in rows.items()} == pytest.approx({1: 1 - 11 / 3, 2: 1.5 - 4.5, 3: 4.5 - 1.5})
    assert [rows[3][name] for name in ("mean_in", "mean_out", "n_in", "n_out", "label")] == [4.5, 1.5, 2, 2, 0]
    # within the halves 1 2 and 4 5 the squares are 0.5 + 0.5 on 2 degrees of freedom: t = 3 / sqrt(0.5 (1/2 + 1/2))
    assert rows[3]["t"] == pytest.approx(3 / np.sqrt(0.5))


def test_influence_equals_numpy_and_scipy(lake_of, ask):
    rng = np.random.default_rng(3)
    x, y = rng.random((40, 11)) < 0.5, rng.integers(-8, 8, (40, 3)) / 4
    masks = [{"mask_id": m, "mask": row} for m, row in enumerate("".join(map(str, row.astype(int))) for row in x)]
    margins = [{"model_id": m, "mask_id": m, "train_margin": row.tolist()} for m, row in enumerate(y)]
    rows = ask(lake_of(masks=masks, margins=margins), "influence", target_id=2, split="train")
    assert sorted(row["train_id"] for row in rows) == list(range(11))
    for row in rows:
        included, left_out = y[x[:, row["train_id"]], 2], y[~x[:, row["train_id"]], 2]
        assert row["influence"] == pytest.approx(included.mean() - left_out.mean(), abs=1e-12)
        assert row["t"] == pytest.approx(stats.ttest_ind(included, left_out).statistic, abs=1e-9)
    assert [row["influence"] for row in rows] == sorted((row["influence"] for row in rows), reverse=True)


def test_influence_of_studies_with_masks_of_different_lengths(lake_of, ask):
    texts = {"short": ["10", "01"], "long": ["1000000000", "0000000001"]}
    masks = [{"study_id": s, "mask_id": m, "mask": text} for s, pair in texts.items() for m, text in enumerate(pair)]
    margins = [{"study_id": s, "model_id": m, "mask_id": m, "test_margin": [float(m)]} for s in texts for m in range(2)]
    rows = ask(lake_of(masks=masks, margins=margins), "influence", target_id=0)
    found = [(row["study_id"], row["train_id"], row["influence"]) for row in rows]
    assert found == [("long", 9, 1.0), ("long", 0, -1.0), ("short", 1, 1.0), ("short", 0, -1.0)]
