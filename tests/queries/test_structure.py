"""Queries about structure: lakes worked by hand, and numpy on random ones."""

import numpy as np
import pytest

CLASSES = [0, 0, 1, 1]
"""Class of each of four test and four training examples."""
EXAMPLES = [{"split": s, "example_id": i, "label": c} for s in ("test", "train") for i, c in enumerate(CLASSES)]


def component(number: int, scores: list[float], loadings: list[float], **more: object) -> dict:
    return {"component": number, "test_score": scores, "train_loading": loadings, **more}


def member(split: str, example_id: int, cluster: int, **more: object) -> dict:
    return {"split": split, "example_id": example_id, "cluster": cluster, **more}


@pytest.fixture
def toy(lake_of):
    """Component 0 sets the two targets of class 0 against each other; without its high end target 0 falls by 2."""
    sets = [
        {"removal_id": 1, "removed": [3]},
        {"removal_id": 2, "component": 0, "side": "high", "removed": [0]},
        {"removal_id": 3, "component": 0, "side": "low", "removed": [1]},
    ]
    margins = {0: [5, 5, 5, 5], 1: [5, 5, 4, 5], 2: [3, 6, 4, 5], 3: [5.5, 4, 4, 5]}
    models = [
        {"role": "component", "model_id": 2 * m + r, "mask_id": m, "repeat": r, "test_margin": [y + r for y in each]}
        for m, each in margins.items()
        for r in range(2)
    ]
    for model in models:
        model["test_accuracy"] = {0: 1.0, 1: 0.75, 2: 0.5, 3: 0.25}[model["mask_id"]]
    return lake_of(
        examples=EXAMPLES,
        components=[
            component(0, [2, -1, 0.5, 0], [0.8, -0.6, 0, 0], explained=0.75),
            component(1, [0, 0, 1, -1], [0, 0, 1, 0], explained=0.25),
            {"component": 0, "embedding": "pixels", "explained": 1.0},
        ],
        interventions=sets,
        margins=models,
        weights=[
            {"target_id": 0, "train_id": 0, "weight": 1.5},
            {"target_id": 1, "train_id": 0, "weight": -0.5},
            {"target_id": 1, "train_id": 1, "weight": 1},
            {"target_id": 2, "train_id": 3, "weight": 1},
            {"target_id": 2, "train_id": 2, "weight": 0.25},
        ],
        fits=[{"target_id": t, "mean_margin": t} for t in range(4)],
        clusters=[
            *(member("test", t, t // 2, similarity=0.5 + t / 8) for t in range(4)),
            *(member("train", i, c) for i, c in enumerate([0, 0, 0, 1])),
            *(member("test", t, t, within="class") for t in range(4)),
            *(member("train", i, c, within="class") for i, c in enumerate([0, 0, 2, 3])),
        ],
    )


def test_the_ends_of_components(toy, ask):
    rows = ask(toy, "components", k=1)
    found = [(row["component"], row["split"], row["side"], row["example_id"], row["value"]) for row in rows]
    assert found == [
        (0, "test", "high", 0, 2),
        (0, "test", "low", 1, -1),
        (0, "train", "high", 0, pytest.approx(0.8)),
        (0, "train", "low", 1, pytest.approx(-0.6)),
        (1, "test", "high", 2, 1),
        (1, "test", "low", 3, -1),
        (1, "train", "high", 2, 1),
        (1, "train", "low", 0, 0),
    ]
    assert [(row["explained"], row["label"], row["rank"]) for row in rows[:2]] == [(0.75, 0, 1), (0.75, 0, 1)]
    assert ask(toy, "components", embedding="residual") == []


def test_effective_dimensions(toy, ask):
    weights, pixels = ask(toy, "effective_dimension")
    assert (weights["embedding"], pixels["embedding"]) == ("weights", "pixels")
    assert weights["participation_ratio"] == pytest.approx(1 / (0.75**2 + 0.25**2))
    assert [weights[name] for name in ("components_half", "components_90", "n_components", "first_share")] == [1, 2, 2, 0.75]
    assert [pixels[name] for name in ("participation_ratio", "components_90")] == [1, 1]


@pytest.mark.parametrize("n", [1, 4, 17])
def test_equal_components_are_as_many_dimensions(lake_of, ask, n):
    (row,) = ask(lake_of(components=[{"component": i, "explained": 1 / n} for i in range(n)]), "effective_dimension")
    assert row["participation_ratio"] == pytest.approx(n)
    assert row["components_90"] == int(np.ceil(round(0.9 * n, 9)))


def test_clusters_with_their_classes(toy, ask):
    first, second = ask(toy, "clusters")
    assert [first[name] for name in ("cluster", "label", "n_test", "n_train", "purity", "classes")] == [0, 0, 2, 3, 1, "0: 2"]
    assert first["train_purity"] == pytest.approx(2 / 3)
    assert [second[name] for name in ("label", "n_train", "train_purity", "classes")] == [1, 1, 1, "1: 2"]
    assert second["similarity"] == pytest.approx((0.75 + 0.875) / 2)
    assert len(ask(toy, "clusters", within="class")) == 4


def test_a_mixed_cluster(lake_of, ask):
    members = [member("test", t, 7) for t in (0, 2, 3)]
    (row,) = ask(lake_of(examples=EXAMPLES, clusters=members), "clusters")
    assert [row[name] for name in ("label", "classes", "n_train", "train_purity")] == [1, "1: 2, 0: 1", 0, None]
    assert row["purity"] == pytest.approx(2 / 3)


def test_members_the_most_typical_first(toy, ask):
    rows = ask(toy, "cluster_members", k=1)
    assert [(row["cluster"], row["split"], row["example_id"], row["rank"]) for row in rows] == [
        (0, "test", 1, 1),
        (0, "train", 0, 1),
        (1, "test", 3, 1),
        (1, "train", 3, 1),
    ]


def test_subpopulations_and_the_training_images_they_need(toy, ask):
    rows = ask(toy, "subpopulations")
    named = ("label", "cluster", "n_test", "n_train", "share", "margin", "own_weight", "sibling_weight", "other_weight")
    assert [tuple(row[name] for name in named) for row in rows] == [
        (0, 0, 1, 2, 0.5, 0, 1.5, 0, 0),
        (0, 1, 1, 0, 0.5, 1, 0, 0.5, 0),
        (1, 2, 1, 1, 0.5, 2, 0.25, 1, 0),
        (1, 3, 1, 1, 0.5, 3, 0, 0, 0),
    ]
    assert [row["own_share"] for row in rows] == [1, 0, 0.5, 0.5]


def test_interventions_worked_by_hand(toy, ask):
    high, low = ask(toy, "pca_interventions", ends=1)
    # the random set costs target 2 one logit; without the high end target 0 falls by 2 and target 1 gains 1
    assert [high[name] for name in ("component", "side", "k", "repeats", "own_drop", "other_drop")] == [0, "high", 1, 2, 2, -1]
    assert [high[name] for name in ("own_predicted", "other_predicted", "all_drop")] == [1.5, -0.5, 0.25]
    assert [high[name] for name in ("test_accuracy", "random_accuracy", "own_error")] == [0.5, 0.75, None]
    assert high["pearson"] == pytest.approx(np.corrcoef([2, -1, 0.5, 0], [2, -1, 0, 0])[0, 1])
    assert [low[name] for name in ("side", "own_drop", "other_drop", "own_predicted")] == ["low", 1, -0.5, 1]
    assert low["pearson"] == pytest.approx(np.corrcoef([-2, 1, -0.5, 0], [-0.5, 1, 0, 0])[0, 1])


def test_the_error_is_over_targets(toy, ask):
    high, _ = ask(toy, "pca_interventions", ends=2)
    # targets 0 and 2 are at the high end and fall by 2 and 0
    assert (high["own_drop"], high["own_error"]) == (1, pytest.approx(np.std([2, 0], ddof=1) / np.sqrt(2)))


def test_conflicts_within_a_class(toy, ask):
    (row,) = ask(toy, "conflicting_components", least=1)
    # scores over the root of their mean square, 1.146: 1.75, -0.87, ... and for component 1 over 0.707
    assert [row[name] for name in ("component", "label", "n_high", "n_low", "conflict")] == [1, 1, 1, 1, 0.5]
    assert row["high_drop"] is None


def test_a_conflict_with_its_retrains(toy, ask, lake_of, add):
    add(toy, "components", [component(0, [2, -2, 0, 0], [1, 0, 0, 0], fit="lasso-00004", role="other")])
    row = next(r for r in ask(toy, "conflicting_components", least=1) if r["role"] == "other")
    drops = [row[name] for name in ("high_drop", "low_drop", "high_drop_without_low", "low_drop_without_low")]
    assert (row["component"], row["label"], drops) == (0, 0, [2, -1, -0.5, 1])


def test_two_studies_compared_worked_by_hand(toy, ask, add):
    shares = [("residual", 0.5, 0.125), ("reverse", 0.25, 0.5), ("null", 0.25, 0.125), ("reverse-null", 0.375, 0.125)]
    more = {"role": "residual", "other_study": "plain", "other_fit": "lasso-00008"}
    ends = {"residual": ([2, -1, 0.5, 0], [0.8, -0.6, 0, 0]), "reverse": ([0, 0, 1, -1], [0, 0, 0, 1])}
    rows = [
        component(0, *ends.get(name, (None, None)), embedding=name, own_explained=own, other_explained=other, **more)
        for name, own, other in shares
    ]
    add(toy, "components", rows)
    residual, reverse = ask(toy, "model_diff", k=2)
    assert [residual[name] for name in ("leans", "beyond", "share", "other_share", "left")] == ["toy", "plain", 0.5, 0.125, 0.5]
    assert [reverse[name] for name in ("leans", "beyond", "share", "other_share")] == ["plain", "toy", 0.25, 0.5]
    assert (residual["gap"], reverse["gap"]) == (0.375, -0.25)
    assert residual["null_gap"] == reverse["null_gap"] == 0.25
    assert (residual["high_train"], residual["low_train"]) == ("0 (0), 2 (1)", "1 (0), 2 (1)")
    assert (reverse["high_targets"], reverse["low_targets"]) == ("2 (1), 0 (0)", "3 (1), 0 (0)")
    assert {row["fit"] for row in (residual, reverse)} == {"lasso-00004"}
    assert {row["role"] for row in ask(toy, "components", embedding="residual", k=1)} == {"residual"}
    assert {row["embedding"] for row in ask(toy, "effective_dimension")} == {"weights", "pixels"}
