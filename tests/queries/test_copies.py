"""Similar examples, copies, keep-lists and what cleaning brings: lakes worked by hand."""

import math

import pytest

MASKS = [{"mask_id": m, "mask": text} for m, text in enumerate(["1100", "1010", "0110", "0011"])]
EXAMPLES = [
    *({"split": "test", "example_id": i, "label": i, "image_sha256": sha} for i, sha in enumerate("xy")),
    *({"split": "train", "example_id": i, "label": i % 2, "image_sha256": sha} for i, sha in enumerate(["a", "b", "a", "x"])),
]
# the nearest of training images are 0.0, 1.0, 0.0 and 3.0 away: a median of 0.5
NEIGHBOURS = [
    {"split": "test", "example_id": 0, "train_id": 3, "distance": 0.0},
    {"split": "test", "example_id": 1, "train_id": 1, "distance": 0.1},
    {"split": "test", "example_id": 1, "train_id": 0, "distance": 0.2, "rank": 2},
    {"example_id": 0, "train_id": 2, "distance": 0.0},
    {"example_id": 1, "train_id": 3, "distance": 1.0},
    {"example_id": 2, "train_id": 0, "distance": 0.0},
    {"example_id": 3, "train_id": 1, "distance": 3.0},
]
FITS = [{"target_id": t, "split": s} for s, n in (("test", 2), ("train", 4)) for t in range(n)]
WEIGHTS = [
    *({"split": "test", "target_id": t, "train_id": i, "weight": w} for t, i, w in [(0, 3, 2.0), (0, 0, 1.0), (1, 3, -4.0)]),
    *(
        {"split": "train", "target_id": t, "train_id": i, "weight": w}
        for t, i, w in [(0, 0, 3.0), (1, 0, 3.0), (1, 3, 4.0), (2, 1, 1.0), (3, 3, 2.0), (3, 0, 1.0)]
    ),
]


@pytest.fixture
def toy(lake_of):
    """Training image 2 copies 0, 3 copies test image 0, and 1 is nearly test image 1."""
    margins = [{"model_id": m, "mask_id": m, "train_margin": [4, 1, 2, own]} for m, own in enumerate([-4, -6, -2, 3])]
    planted = [{"example_id": 3, "kind": "leak", "source_split": "test", "source_id": 0}]
    tables = {"masks": MASKS, "margins": margins, "fits": FITS, "weights": WEIGHTS, "planted": planted}
    return lake_of(examples=EXAMPLES, neighbours=NEIGHBOURS, **tables)


def test_duplicates_of_a_lake_worked_by_hand(toy, ask):
    rows = ask(toy, "duplicates")
    names = ("train_id", "other_split", "other_id", "exact", "label", "other_label", "weight", "planted")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (3, "test", 0, True, 1, 0, 2.0, "leak"),
        (2, "train", 0, True, 0, 0, 0.0, None),
        (1, "test", 1, False, 1, 1, 0.0, None),
    ]
    assert [row["distance"] for row in rows] == pytest.approx([0, 0, 0.1 / 0.5])
    assert {(row["fit"], row["fingerprint"]) for row in rows} == {("lasso-00004", "f1")}
    assert len(ask(toy, "duplicates", within=0.1)) == 2
    assert len(ask(toy, "duplicates", within=0.41)) == 4  # 0.2 of 0.5 is near enough


def test_exact_copies_need_neither_neighbours_nor_models(lake_of, ask):
    lake = lake_of(examples=EXAMPLES, masks=MASKS)
    assert [(row["train_id"], row["other_split"], row["weight"], row["fit"]) for row in ask(lake, "duplicates")] == [
        (3, "test", None, None),
        (2, "train", None, None),
    ]


def test_look_alikes_of_a_lake_worked_by_hand(toy, ask):
    names = ("target_id", "rank", "train_id", "label", "target_label")
    rows = ask(toy, "look_alikes")
    assert [tuple(row[name] for name in names) for row in rows] == [(0, 1, 3, 1, 0), (1, 1, 1, 1, 1), (1, 2, 0, 0, 1)]
    assert [row["distance"] for row in rows] == pytest.approx([0, 0.2, 0.4])  # the median is 0.5
    assert [row["train_id"] for row in ask(toy, "look_alikes", split="train", target_id=1)] == [3]
    assert len(ask(toy, "look_alikes", k=1)) == 2


def test_similar_of_a_lake_worked_by_hand(toy, ask):
    rows = ask(toy, "similar", target_id=0)
    # test image 0 relies on 3 (2.0) and 0 (1.0); so do 3 exactly, 1 with (3, 4) and 0 with 0 alone; 2 has nothing in common
    assert [row["train_id"] for row in rows] == [3, 1, 0]
    cosines = [1, (1 * 3 + 2 * 4) / (math.sqrt(5) * 5), 3 / (math.sqrt(5) * 3)]
    assert [row["cosine"] for row in rows] == pytest.approx(cosines)
    assert [(row["rank"], row["pixel_rank"], row["distance"]) for row in rows] == [
        (1, 1, 0.0),
        (2, None, None),
        (3, None, None),
    ]
    assert [(row["label"], row["target_label"]) for row in rows] == [(1, 0), (1, 0), (0, 0)]
    assert [row["train_id"] for row in ask(toy, "similar", target_id=0, k=1)] == [3]
    # a training example is not like itself; its nearest by pixels has no cosine with it
    assert [(row["train_id"], row["rank"], row["pixel_rank"]) for row in ask(toy, "similar", target_id=0, split="train")] == [
        (1, 1, None),
        (3, 2, None),
        (2, None, 1),
    ]


def test_alike_in_reach(toy, ask):
    rows = ask(toy, "similar", target_id=0, split="train", by="reach")
    # 0 raises test image 0 by 1; 3 does so by 2, and lowers test image 1 by 4
    assert [(row["train_id"], row["cosine"]) for row in rows] == [(3, pytest.approx(2 / math.sqrt(20))), (2, None)]


BOTH = {"lasso-00008": -2, "ridge-00008": -4}
"""Weight of training example 3 in two more fits."""


@pytest.mark.parametrize(
    ("leave_out", "kept", "gain"),
    [
        # mean effects of 0, 1, 2, 3: 0.5, 0, 0, -1, beyond their mean -0.125; a model sees half of the examples
        ("suspects", [0, 1, 2], 0.875 / 2),
        ("memorized", [0, 1, 2], 0.875 / 2),
        ("duplicates", [0, 1, 3], -0.125 / 2),
        ("leaks", [0, 2], (0.875 - 0.125) / 2),
    ],
)
def test_a_keep_list_worked_by_hand(toy, ask, leave_out, kept, gain):
    rows = ask(toy, "keep_list", study="toy", leave_out=leave_out, k=1)
    assert [row["train_id"] for row in rows] == kept
    assert {row["n_left_out"] for row in rows} == {4 - len(kept)}
    assert [row["predicted_gain"] for row in rows] == pytest.approx([gain] * len(rows))


def test_of_several_fits_that_match_one_speaks_and_a_row_stands_once(toy, ask, add):
    newer = [{"fit": "lasso-00008", "target_id": t, "n_models": 8} for t in range(2)]
    add(toy, "fits", [*newer, *({**row, "fit": "ridge-00008", "validation_r": 0.25} for row in newer)])
    weights = [{"fit": f, "target_id": t, "train_id": 3, "weight": w} for t in range(2) for f, w in BOTH.items()]
    add(toy, "weights", weights)
    rows = ask(toy, "keep_list", study="toy", leave_out="suspects", k=1, fit="*-0000?")
    assert [row["train_id"] for row in rows] == [0, 1, 2]
    assert {row["fit"] for row in rows} == {"lasso-00008"}
    assert {row["predicted_gain"] for row in rows} == {0.75}  # half of 2, less the mean 0.5 of all four


def test_any_are_left_out_by_number_alone(toy, ask):
    kept = [row["train_id"] for row in ask(toy, "keep_list", study="toy", leave_out="random", k=2)]
    assert len(kept) == 2
    assert kept == [row["train_id"] for row in ask(toy, "keep_list", study="toy", leave_out="random", k=2)]
    assert {row["train_id"] for row in ask(toy, "keep_list", study="toy", leave_out="random", k=3)} < set(kept)


def test_the_gain_of_a_study_worked_by_hand(tmp_path, add, ask, lake_of):
    images = [{"split": "test", "example_id": 0, "image_sha256": "x"}]
    lake = lake_of(examples=[*images, *({"example_id": i, "image_sha256": "a"} for i in range(3))])
    add(lake, "examples", [{"dataset_id": "less", **row} for row in [*images, {"example_id": 0, "image_sha256": "a"}]])
    for study, dataset, found in (("toy", "pixels", [0.5, 0.5, 0.25, 0.25]), ("clean", "less", [0.75, 0.75, 0.75, 0.75])):
        rows = [
            {"study_id": study, "model_id": m, "mask_id": m, "init_id": m // 2, "test_accuracy": a, "test_margin": [2 * a]}
            for m, a in enumerate(found)
        ]
        add(lake, "margins", rows, identity={"dataset": {"name": dataset}}, fingerprint=study)
    (row,) = ask(lake, "gain", study="clean", than="toy")
    # by initialisation 0.25 and 0.5 more, margins twice as much
    assert (row["accuracy_gain"], row["margin_gain"], row["n_inits"], row["test_accuracy"]) == (0.375, 0.75, 2, 0.75)
    assert (row["accuracy_error"], row["margin_error"]) == pytest.approx((0.125, 0.25))
    assert (row["n_train"], row["than_n_train"], row["fingerprint"]) == (1, 3, "clean")
    assert [row["accuracy_gain"] for row in ask(lake, "gain")] == [0.375, -0.375]
