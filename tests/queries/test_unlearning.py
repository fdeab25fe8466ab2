"""Queries forget, forgotten and select: lakes worked by hand, and the divergence of margins against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from lake import connect

ROLE = "removal-0"
SHELL = connect("no-lake-here")


def retrained(before, after, removed=(0,), split="test", weights=()):
    """Tables of one set that was removed: margins [repeat][example] with everything and without it; weights (target, train, w)."""
    other = {"test": "train", "train": "test"}[split]
    margins = [
        {"role": ROLE, "mask_id": mask_id, "repeat": r, f"{split}_margin": row, f"{other}_margin": [0.0]}
        for mask_id, rows in enumerate((before, after))
        for r, row in enumerate(rows)
    ]
    sets = {"role": ROLE, "removal_id": 1, "target_id": 0, "k": len(removed), "removed": list(removed)}
    return {
        "margins": [{**row, "model_id": n} for n, row in enumerate(margins)],
        "removals": [{**sets, "predicted_change": 0.0, "curved_change": 0.0}],
        "fits": [{"split": split, "target_id": t, "bias": 0.5} for t in range(len(before[0]))],
        "weights": [{"split": split, "target_id": t, "train_id": i, "weight": w} for t, i, w in weights],
    }


def test_forget_of_a_lake_worked_by_hand(lake_of, ask):
    before, after = [[4.0], [5.0], [4.0], [4.0]], [[1.5], [1.5], [1.0], [1.5]]
    lake = lake_of(**retrained(before, after, weights=[(0, 0, 3.0), (0, 1, 9.0)]))
    (row,) = ask(lake, "forget", least=4)
    assert (row["method"], row["k"], row["points"], row["n_points"], row["repeats"]) == ("datamodel", 1, "test", 1, 4)
    # 1 and 2 in place of 4 and 5, held against the last two retrains, 1 and 1.5: bins 0 and 19 against 0 and 10 of 20
    assert row["klom"] == pytest.approx(0.5 * math.log(0.5 / 1e-5))
    assert row["klom_95"] == row["klom"]
    # 4 and 5 share no bin with 1 and 1.5
    assert row["klom_nothing"] == pytest.approx(math.log(0.5 / 1e-5))
    # the first two retrains, 1.5 twice: bin 19, in which half of the others are
    assert row["klom_retrained"] == pytest.approx(math.log(2))
    # means 4.25, 1.25 unlearned, 1.375 retrained
    assert (row["rmse"], row["rmse_nothing"]) == pytest.approx((0.125, 2.875))
    assert (row["fit"], row["role"], row["fingerprint"]) == ("lasso-00004", ROLE, "f1")
    assert ask(lake, "forget", least=5)[0]["klom"] is None


def test_forgotten_training_examples_stand_apart_from_kept_ones(lake_of, ask):
    before, after = [[4.0, 2.0], [4.0, 2.0]], [[1.0, 2.0], [1.0, 2.5]]
    rows = ask(lake_of(**retrained(before, after, split="train", weights=[(0, 0, 2.0)])), "forget", split="train")
    assert [(row["points"], row["n_points"]) for row in rows] == [("kept", 1), ("removed", 1)]
    assert [(row["rmse"], row["rmse_nothing"]) for row in rows] == [(0.25, 0.25), (1.0, 3.0)]


def test_a_set_with_a_single_retrain_is_left_out(lake_of, ask):
    assert ask(lake_of(**retrained([[4.0]], [[1.0]])), "forget") == []


@pytest.mark.parametrize("seed", range(3))
def test_divergence_is_that_of_scipy_over_common_bins(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.normal(0, 1, 60), rng.normal(0.5, 2, 40)
    if seed == 2:
        p[0], q[0] = 5_000, -5_000
    clipped = [np.clip(x, -100, 100) for x in (p, q)]
    edges = np.histogram_bin_edges(np.concatenate(clipped), 20)
    shares = [np.histogram(x, edges)[0] / len(x) for x in clipped]
    expected = stats.entropy(shares[0], np.maximum(shares[1], 1e-5)) - math.log(np.maximum(shares[1], 1e-5).sum())
    (found,) = SHELL.execute("select binned_divergence($1::double[], $2::double[])", [p.tolist(), q.tolist()]).fetchone()
    assert found == pytest.approx(expected, rel=1e-9)
    assert SHELL.execute("select binned_divergence([2.0, 2.0], [2.0])").fetchone() == (0,)


def test_forgotten_margins_are_those_of_full_models_less_the_weights(lake_of, ask):
    weights = [(0, 0, 3.0), (0, 2, -1.0), (1, 0, 0.25), (1, 1, 4.0)]
    lake = lake_of(**retrained([[2.0, 5.0], [3.0, 5.0]], [[0.0, 0.0]] * 2, weights=weights))
    first, second = ask(lake, "forgotten", train_ids="2,0,0")
    assert (first["margin"], first["change"], first["margin_without"], first["flips"]) == (2.5, -2.0, 0.5, False)
    assert (second["margin"], second["change"], second["margin_without"]) == (5.0, -0.25, 4.75)
    assert (first["n_models"], first["n_forgotten"], first["fingerprint"]) == (2, 2, "f1")
    assert ask(lake, "forgotten", train_ids=0)[0]["flips"]


def test_without_full_models_the_margin_of_everything_is_predicted(lake_of, ask):
    tables = retrained([[2.0]], [[0.0]], weights=[(0, 0, 3.0), (0, 2, -1.0)])
    (row,) = ask(lake_of(fits=tables["fits"], weights=tables["weights"]), "forgotten", train_ids=0)
    # bias 0.5, weights 3 - 1
    assert (row["margin"], row["change"], row["margin_without"], row["n_models"]) == (2.5, -3.0, -0.5, 0)


def test_select_ranks_training_examples_by_their_mean_weight(lake_of, ask):
    weights = [(0, 0, 3.0), (0, 2, -1.0), (1, 0, -1.0), (1, 1, 4.0), (2, 2, 6.0)]
    lake = lake_of(
        examples=[{"split": s, "example_id": i, "label": i % 2} for s in ("test", "train") for i in range(3)],
        fits=[{"target_id": t} for t in range(3)],
        weights=[{"target_id": t, "train_id": i, "weight": w} for t, i, w in weights],
    )
    rows = ask(lake, "select", k=2)
    # over three targets: example 2 has 5, example 1 has 4, example 0 has 2
    assert [(row["rank"], row["train_id"], row["label"]) for row in rows] == [(1, 2, 0), (2, 1, 1)]
    assert [row["mean_weight"] for row in rows] == pytest.approx([5 / 3, 4 / 3])
    assert [row["running_gain"] for row in rows] == pytest.approx([5 / 3, 3])
    assert [row["share_raised"] for row in rows] == pytest.approx([1 / 3, 1 / 3])
    (of_class,) = ask(lake, "select", k=1, label=0)
    assert (of_class["train_id"], of_class["mean_weight"], of_class["n_targets"]) == (2, 2.5, 2)
    assert [row["train_id"] for row in ask(lake, "select", target_ids="0,1")] == [1, 0, 2]
