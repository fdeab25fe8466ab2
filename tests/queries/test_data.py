"""Queries of the theme data: lakes worked by hand, and numpy on a random lake."""

import math

import numpy as np
import pytest
from scipy import stats

EXAMPLES = [{"split": "train", "example_id": i, "label": 4 + i} for i in range(3)]
MASKS = [{"mask_id": m, "mask": text} for m, text in enumerate(["110", "101", "011", "110"])]
OWN_MARGINS = [[4, 2, -2], [6, 1, 3], [-1, 4, 5], [5, 3, -4]]
MARGINS = [{"model_id": m, "mask_id": m, "train_margin": margins} for m, margins in enumerate(OWN_MARGINS)]


@pytest.fixture
def toy(lake_of):
    """Three training examples: the third is right only when it was trained on."""
    return lake_of(
        examples=EXAMPLES,
        masks=MASKS,
        margins=MARGINS,
        fits=[*({"target_id": t, "split": "train"} for t in range(3)), {"target_id": 0}, {"target_id": 1}],
        weights=[
            {"target_id": 0, "train_id": 0, "split": "train", "weight": 2.5},
            {"target_id": 1, "train_id": 0, "split": "train", "weight": 9.0},
            {"target_id": 0, "train_id": 2, "weight": -3.0},
            {"target_id": 1, "train_id": 2, "weight": 1.0},
        ],
    )


def test_memorization_of_a_lake_worked_by_hand(toy, ask):
    rows = ask(toy, "memorization")
    assert [row["train_id"] for row in rows] == [2, 0, 1]
    # example 2 is in masks 1 and 2 with margins 3 and 5, out of masks 0 and 3 with -2 and -4
    assert [rows[0][name] for name in ("margin_in", "margin_out", "memorization", "n_in", "n_out")] == [4, -3, 7, 2, 2]
    assert rows[0]["standard_error"] == pytest.approx(math.sqrt(2 / 2 + 2 / 2))
    # example 0 is out of mask 2 alone: one model has no variance
    assert [rows[1][name] for name in ("memorization", "standard_error", "label")] == [6, None, 4]
    assert [row["self_weight"] for row in rows] == [0.0, 2.5, 0.0]
    assert {row["fit"] for row in rows} == {"lasso-00004"}


def test_memorization_needs_no_fit(lake_of, ask):
    rows = ask(lake_of(masks=MASKS, margins=MARGINS), "memorization")
    assert [(row["train_id"], row["self_weight"], row["fit"]) for row in rows] == [
        (2, None, None),
        (0, None, None),
        (1, None, None),
    ]


def test_memorization_equals_numpy(lake_of, ask):
    rng = np.random.default_rng(5)
    x, y = rng.random((30, 9)) < 0.5, rng.integers(-9, 9, (30, 9)) / 2
    masks = [{"mask_id": m, "mask": "".join(map(str, row.astype(int)))} for m, row in enumerate(x)]
    margins = [{"model_id": m, "mask_id": m, "train_margin": row.tolist()} for m, row in enumerate(y)]
    rows = ask(lake_of(masks=masks, margins=margins), "memorization")
    assert len(rows) == 9
    for row in rows:
        i = row["train_id"]
        included, left_out = y[x[:, i], i], y[~x[:, i], i]
        assert row["memorization"] == pytest.approx(included.mean() - left_out.mean(), abs=1e-12)
        assert row["standard_error"] == pytest.approx(math.hypot(stats.sem(included), stats.sem(left_out)), abs=1e-12)


def test_label_suspects_of_a_lake_worked_by_hand(toy, ask):
    rows = ask(toy, "label_suspects")
    # left out, examples 2, 0 and 1 have the mean margins -3, -1 and 1
    assert [(row["rank"], row["train_id"], row["label"], row["margin_out"]) for row in rows] == [
        (1, 2, 6, -3),
        (2, 0, 4, -1),
        (3, 1, 5, 1),
    ]
    assert [row["self_influence"] for row in rows] == [7, 6, 2]
    assert [row["mean_weight"] for row in rows] == [-1.0, 0.0, 0.0]
    assert [row["train_id"] for row in ask(toy, "label_suspects", k=1)] == [2]


@pytest.mark.case(70)
def test_a_flipped_label_is_the_first_suspect(lake_of, ask):
    rng = np.random.default_rng(7)
    x = rng.random((24, 8)) < 0.5
    y = rng.normal(3, 0.5, (24, 8)) + np.where(x, 0.5, 0)
    y[:, 6] = np.where(x[:, 6], 1.0, -2.0)
    masks = [{"mask_id": m, "mask": "".join(map(str, row.astype(int)))} for m, row in enumerate(x)]
    margins = [{"model_id": m, "mask_id": m, "train_margin": row.tolist()} for m, row in enumerate(y)]
    rows = ask(lake_of(masks=masks, margins=margins), "label_suspects")
    assert (rows[0]["train_id"], rows[0]["mean_weight"]) == (6, None)
    assert rows[0]["margin_out"] == pytest.approx(-2)


def test_planted_labels_are_judged_by_area_under_the_curve(lake_of, ask):
    wrong = [{"example_id": 2}, {"example_id": 1, "kind": "copy"}]
    tables = {"masks": MASKS, "margins": MARGINS, "fits": [{"target_id": 0}]}
    weights = [{"target_id": 0, "train_id": 0, "weight": -3.0}, {"target_id": 0, "train_id": 1, "weight": 1.0}]
    rows = ask(lake_of(examples=EXAMPLES, planted=wrong, weights=weights, **tables), "label_suspects")
    # example 2 has the lowest margin without it and the highest self-influence; by weight 0 is worse and 1 better
    assert {(row["margin_out_auc"], row["self_influence_auc"], row["mean_weight_auc"]) for row in rows} == {(1.0, 1.0, 0.5)}
    assert [(row["train_id"], row["wrong"]) for row in rows] == [(2, True), (0, False), (1, False)]


def test_ties_count_half_and_without_planted_labels_nothing_is_judged(lake_of, ask, toy):
    tables = {"examples": EXAMPLES, "masks": MASKS, "margins": MARGINS, "fits": [{"target_id": 0}]}
    (row, *_) = ask(lake_of(planted=[{"example_id": 0}], **tables), "label_suspects")
    assert (row["margin_out_auc"], row["self_influence_auc"], row["mean_weight_auc"]) == (0.5, 0.5, 0.5)
    (row, *_) = ask(lake_of(planted=[{"example_id": 0}], **{**tables, "fits": []}), "label_suspects")
    assert (row["margin_out_auc"], row["mean_weight_auc"], row["fit"]) == (0.5, None, None)
    assert {(row["wrong"], row["margin_out_auc"]) for row in ask(toy, "label_suspects")} == {(None, None)}
