"""The queries behind an example's page, on lakes worked by hand: top_weights, reach, margin_histogram, verified_removals."""

import pytest

ROLE = "removal-0"


@pytest.fixture
def weighed(lake_of):
    """Two targets of classes 5 and 6, three training examples of classes 0, 1 and 2."""
    weights = [(0, 0, 3.0), (0, 1, -1.0), (0, 2, -2.0), (1, 0, 0.5), (1, 1, 4.0)]
    return lake_of(
        examples=[
            *({"split": "train", "example_id": i, "label": i} for i in range(3)),
            *({"split": "test", "example_id": i, "label": 5 + i} for i in range(2)),
        ],
        fits=[{"target_id": t} for t in range(2)],
        weights=[{"target_id": t, "train_id": i, "weight": w} for t, i, w in weights],
    )


def test_top_weights_has_the_strongest_of_each_side_of_each_target(weighed, ask):
    rows = ask(weighed, "top_weights", k=1)
    found = [tuple(row[name] for name in ("target_id", "side", "rank", "train_id", "weight", "label")) for row in rows]
    assert found == [(0, "proponent", 1, 0, 3, 0), (0, "opponent", 1, 2, -2, 2), (1, "proponent", 1, 1, 4, 1)]
    assert [row["train_id"] for row in ask(weighed, "top_weights") if row["side"] == "opponent"] == [2, 1]


def test_reach_has_the_targets_that_an_example_moves_most(weighed, ask):
    rows = ask(weighed, "reach", k=1)
    found = [tuple(row[name] for name in ("train_id", "side", "target_id", "weight", "label", "n_targets")) for row in rows]
    raises = [(0, "raises", 0, 3, 5, 2), (1, "raises", 1, 4, 6, 1)]
    assert found == [raises[0], raises[1], (1, "lowers", 0, -1, 5, 1), (2, "lowers", 0, -2, 5, 1)]


@pytest.fixture
def spread(lake_of):
    """Four fit models and one that failed, over two training examples and one target."""
    masks = ["10", "10", "01", "01", "10"]
    outputs = [(-1.0, 3.0), (0.5, 3.0), (2.0, -1.0), (3.0, 1.0), (99.0, 99.0)]
    margins = [
        {"model_id": i, "mask_id": i, "test_margin": [test], "train_margin": [train, 0.0]}
        for i, (test, train) in enumerate(outputs)
    ]
    margins[4] |= {"status": "diverged"}
    return lake_of(masks=[{"mask_id": i, "mask": mask} for i, mask in enumerate(masks)], margins=margins)


def test_margin_histogram_of_a_target(spread, ask):
    rows = ask(spread, "margin_histogram", target_id=0, bins=2)
    # from -1 to 3 in two bins: -1 and 0.5, then 2 and the largest, which closes the last bin
    found = [tuple(row[name] for name in ("bin", "low", "high", "n_models", "n_wrong", "included")) for row in rows]
    assert found == [(0, -1, 1, 2, 1, False), (1, 1, 3, 2, 0, False)]


def test_margin_histogram_of_a_training_example_splits_by_whether_it_was_trained_on(spread, ask):
    rows = ask(spread, "margin_histogram", target_id=0, split="train", bins=4)
    found = [tuple(row[name] for name in ("included", "bin", "low", "n_models", "n_wrong")) for row in rows]
    assert found == [(False, 0, -1, 1, 1), (False, 2, 1, 1, 0), (True, 3, 2, 2, 0)]


def test_equal_margins_fall_into_one_bin(lake_of, ask):
    margins = [{"model_id": i, "mask_id": i, "test_margin": [2.0], "train_margin": [0.0]} for i in range(2)]
    (row,) = ask(lake_of(masks=[{"mask_id": i, "mask": "1"} for i in range(2)], margins=margins), "margin_histogram")
    assert (row["bin"], row["n_models"], row["low"]) == (0, 2, 2)


def test_verified_removals_puts_prediction_beside_retrains(lake_of, ask):
    rows = [(0, 0, 3.0), (0, 1, 5.0), (1, 0, -1.0), (1, 1, -3.0), (2, 0, 2.0), (2, 1, 3.0)]
    margins = [
        {"role": ROLE, "model_id": n, "mask_id": m, "repeat": r, "test_margin": [y], "train_margin": [0.0, 0.0]}
        for n, (m, r, y) in enumerate(rows)
    ]
    of_target = {"role": ROLE, "target_id": 0, "k": 1, "curved_change": -4.5}
    removals = [
        {**of_target, "removal_id": 1, "removed": [0], "predicted_change": -4.0},
        {**of_target, "removal_id": 2, "method": "random", "removed": [1], "predicted_change": -0.5},
    ]
    lake = lake_of(margins=margins, removals=removals)
    first, gauge = ask(lake, "verified_removals", target_id=0)
    assert (first["method"], first["k"], first["n_sets"], first["repeats"]) == ("datamodel", 1, 1, 2)
    # before 3 and 5, after -1 and -3: drops of 4 and 8
    assert (first["margin_before"], first["margin_after"], first["observed_drop"]) == (4, -2, 6)
    assert (first["predicted_drop"], first["curved_drop"], first["flipped"]) == (4, 4.5, True)
    # after 2 and 3: drops of 1 and 2
    assert (gauge["method"], gauge["observed_drop"], gauge["predicted_drop"], gauge["flipped"]) == ("random", 1.5, 0.5, False)
    beyond = ask(lake, "verified_removals", relative="true")[0]
    assert (beyond["observed_drop"], beyond["predicted_drop"]) == (4.5, 3.5)
    assert ask(lake, "verified_removals", target_id=1) == []
