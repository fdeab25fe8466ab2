"""Checks: none fires on a sound lake, each fires on the rows that break what it holds, and on no others."""

import shutil

import pytest

from lake import Lake, connect
from queries.run import CHECKS, find, run, shipped

NAMES = sorted(name for name, query in shipped().items() if query.theme == CHECKS)

SOUND = {
    "examples": [{"example_id": i} for i in range(4)] + [{"split": "test", "example_id": i} for i in range(2)],
    "masks": [
        *({"mask_id": m, "mask": text} for m, text in enumerate(["1100", "0011"])),
        {"role": "heldout", "mask_id": 0, "mask": "1010"},
    ],
    "margins": [
        *(
            {"model_id": m, "mask_id": m, "test_accuracy": 0.5, "test_margin": [1, -1], "train_margin": [1, 1, 1, 1]}
            for m in range(2)
        ),
        {
            "role": "heldout",
            "model_id": 0,
            "mask_id": 0,
            "test_accuracy": 1.0,
            "test_margin": [1, 0],
            "train_margin": [1, 1, 1, 1],
        },
    ],
    "fits": [{"target_id": 0, "bias": 0.5, "n_nonzero": 2}, {"target_id": 1, "bias": -1.0, "n_nonzero": 1}],
    "weights": [
        {"target_id": 0, "train_id": 0, "weight": 1.0},
        {"target_id": 0, "train_id": 1, "weight": 4.0},
        {"target_id": 1, "train_id": 2, "weight": 0.25},
    ],
    "predictions": [{"mask_id": 0, "predicted_margin": [1.5, -0.75]}],
}
OK = {"test_margin": [1, -1], "train_margin": [1, 1, 1, 1], "test_accuracy": 0.5}
CURVE = {"fit": "lasso-00002", "n_models": 2, "n_nonzero": 7}

BROKEN = [
    ("mask_sizes", "masks", {"mask_id": 9, "mask": "1110"}, {"mask_id": 9, "n_included": 3, "expected": 2.0}),
    ("mask_lengths", "masks", {"mask_id": 9, "mask": "110000000"}, {"mask_id": 9, "n_bytes": 2, "expected": 1}),
    ("mask_lengths", "masks", {"mask_id": 9, "mask": "10000100"}, {"mask_id": 9, "n_bytes": 1, "expected": 1}),
    ("leaked_masks", "masks", {"role": "heldout", "mask_id": 9, "mask": "0011"}, {"mask_id": 9, "fit_mask_id": 1}),
    ("duplicate_masks", "masks", {"mask_id": 1, "mask": "0011"}, {"mask_id": 1, "n_rows": 2}),
    ("duplicate_models", "margins", {**OK, "model_id": 1, "mask_id": 1}, {"model_id": 1, "n_rows": 2}),
    ("orphan_margins", "margins", {**OK, "model_id": 9, "mask_id": 7}, {"model_id": 9, "mask_id": 7}),
    (
        "accuracies",
        "margins",
        {**OK, "model_id": 9, "mask_id": 1, "test_accuracy": 1.0},
        {"positive_share": 0.5, "zero_share": 0.0},
    ),
    ("statuses", "margins", {"model_id": 9, "mask_id": 1}, {"model_id": 9, "status": "ok"}),
    ("statuses", "margins", {**OK, "model_id": 9, "mask_id": 1, "status": "failed"}, {"model_id": 9, "status": "failed"}),
    (
        "margin_lengths",
        "margins",
        {**OK, "model_id": 9, "mask_id": 1, "train_margin": [1, 1]},
        {"n_train": 2, "expected_train": 4},
    ),
    (
        "orphan_weights",
        "weights",
        {"target_id": 5, "train_id": 0, "weight": 1.0},
        {"target_id": 5, "n_weights": 1, "n_nonzero": None},
    ),
    ("orphan_weights", "fits", {"target_id": 5, "n_nonzero": 3}, {"target_id": 5, "n_weights": 0, "n_nonzero": 3}),
    ("unconverged_fits", "fits", {**CURVE, "target_id": 0, "converged": False, "kkt": 0.5}, {"fit": "lasso-00002", "kkt": 0.5}),
    (
        "predictions_from_weights",
        "weights",
        {"target_id": 1, "train_id": 0, "weight": 9.0},
        {"predicted_margin": -0.75, "added_up": 8.25},
    ),
]


def firing(lake):
    """The checks that return rows."""
    shell = connect(lake.root, locked=True)
    return [name for name in NAMES if run(shell, find(name), {}).num_rows]


@pytest.fixture(scope="module")
def sound(tmp_path_factory, add):
    """The sound lake: to be read only."""
    lake = Lake(tmp_path_factory.mktemp("sound") / "lake")
    for table, rows in SOUND.items():
        add(lake, table, rows)
    return lake


@pytest.fixture
def lake(sound, tmp_path):
    """A copy of the sound lake, to be broken."""
    return Lake(shutil.copytree(sound.root, tmp_path / "copy"))


def test_no_check_fires_on_a_sound_lake(sound):
    assert firing(sound) == []


@pytest.mark.parametrize(("name", "table", "row", "expected"), BROKEN)
def test_a_check_fires_on_the_row_that_is_broken(name, table, row, expected, lake, ask, add):
    add(lake, table, [row], first=90)
    failing = ask(lake, name)
    assert len(failing) == 1
    assert failing[0] | expected == failing[0]


def test_a_study_of_two_experiments_is_found(lake, ask, add):
    add(lake, "masks", [{"mask_id": 5, "mask": "0110"}], fingerprint="f2", first=7)
    assert ask(lake, "mixed_fingerprints") == [{"study_id": "toy", "n_fingerprints": 2}]


def test_every_check_is_shown_to_fire():
    assert {name for name, *_ in BROKEN} | {"mixed_fingerprints"} == set(NAMES)


def test_checks_leave_out_what_they_do_not_speak_of(lake, ask, add):
    add(lake, "fits", [{**CURVE, "target_id": 0}])  # a fit for the learning curve keeps no weights
    add(
        lake,
        "masks",
        [{"role": "removal", "mask_id": 0, "mask": "1000"}, {"mask_id": 8, "mask": "1000", "design": "bernoulli"}],
        first=3,
    )
    add(lake, "margins", [{"model_id": 8, "mask_id": 0, "status": "diverged"}], first=3)
    assert firing(lake) == []
