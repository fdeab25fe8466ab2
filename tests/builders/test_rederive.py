"""Deep checks: a file that is whole but wrong is named, and no other is."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from builders import rederive
from lake import parquet
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import SET_ASIDE, quarantine, verify

FIT = [Partition("margins", "small", "fit", i) for i in range(3)]
MASKS = Partition("masks", "small", "fit", 1)
IMAGES = Partition("examples", "digits-60-20", "images", 0)
FITTED = ("fits", "weights", "predictions")
FITS, WEIGHTS, PREDICTIONS = (Partition(table, "small", "lasso", 48) for table in FITTED)


def reseal(lake: Lake, partition: Partition, change: Callable[[list[dict]], list[dict]]) -> None:
    """Write other rows under a partition's name with its own facts, sealed and self-consistent."""
    facts = lake.facts({partition: lake.present(partition.table)[partition]})[partition]
    rows = pa.Table.from_pylist(change(lake.read(partition).to_pylist()), TABLES[partition.table].schema)
    (lake.root / partition.path).unlink()
    parquet.write(rows, TABLES[partition.table], facts, lake.root / partition.path)


def flip(mask: bytes, bit: int) -> bytes:
    bits = bytearray(mask)
    bits[bit // 8] ^= 128 >> bit % 8
    return bytes(bits)


def swap(rows: list[dict], name: str, i: int, j: int) -> list[dict]:
    rows[i][name], rows[j][name] = rows[j][name], rows[i][name]
    return rows


def shifted(rows: list[dict], name: str, by: int) -> list[dict]:
    return [{**row, name: row[name] + by} for row in rows]


def named(lake: Lake) -> dict[str, str]:
    """What the deep check says, by path; and that the plain one says nothing."""
    assert verify(lake) == []
    problems = verify(lake, deep=True)
    assert all(problem.advice == SET_ASIDE for problem in problems)
    return {problem.path: problem.what for problem in problems}


@pytest.mark.row("B3", control=True)
def test_a_clean_lake_is_clean(built):
    assert verify(built, deep=True) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"design": "bernoulli", "alpha": 0.7},
        {"alpha": 0.25, "seed": 2**62, "heldout_masks": 5, "heldout_repeats": 2, "pool": 3},
        {"dataset": {"source": "digits", "n_train": 33, "n_test": 5}, "models": 16},
    ],
    ids=["bernoulli", "others", "small"],
)
def test_clean_lakes_of_other_studies_are_clean(lake, study_of, build_missing, changes):
    report = build_missing(lake, study_of(curve=[], estimators=["difference"], **changes))
    assert report.added["margins"] >= 2
    assert verify(lake, deep=True) == []


def test_masks_without_margins_are_clean(built_copy):
    for table in ("margins", "fits", "weights", "predictions", "examples"):
        shutil.rmtree(built_copy.root / table)
    assert verify(built_copy, deep=True) == []
    reseal(built_copy, MASKS, lambda rows: swap(rows, "mask", 2, 9))
    assert named(built_copy) == {MASKS.path: "2 masks are not those of their ids (first: 18)"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: swap(rows, "mask", 2, 9), "2 masks are not those of their ids (first: 18)"),
        (
            lambda rows: [rows[0] | {"mask": flip(rows[0]["mask"], 7)}, *rows[1:]],
            "1 masks are not those of their ids (first: 16)",
        ),
        (
            lambda rows: [row | {"mask": flip(row["mask"], 63)} for row in rows],
            "16 masks are not those of their ids (first: 16)",
        ),
        (lambda rows: [row | {"mask": row["mask"] + b"\0"} for row in rows], "16 masks are not those of their ids (first: 16)"),
        (lambda rows: [rows[0] | {"mask": rows[0]["mask"] + b"\0"}, *rows[1:]], "masks are of 2 lengths"),
        (lambda rows: [row | {"mask": b""} for row in rows], "masks are empty"),
        (lambda rows: shifted(rows, "mask_id", 1), "mask ids are not those of this partition"),
        (lambda rows: rows[:-1], "mask ids are not those of this partition"),
    ],
    ids=["swapped", "bit", "padding", "longer", "ragged", "empty", "shifted", "short"],
)
def test_masks_that_are_not_those_of_their_ids_are_named(built_copy, change, what):
    reseal(built_copy, MASKS, change)
    assert named(built_copy) == {MASKS.path: what}


def test_masks_of_another_seed_are_named(built_copy, lake, study_of, build_missing):
    build_missing(lake, study_of(seed=1, curve=[], estimators=["difference"]))
    theirs = lake.read(MASKS).to_pylist()
    reseal(built_copy, MASKS, lambda rows: theirs)
    assert named(built_copy) == {MASKS.path: "16 masks are not those of their ids (first: 16)"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: [row | {"init_id": 0} for row in rows], "init_id is not what the model ids give"),
        (lambda rows: swap(rows, "mask_id", 3, 4), "mask_id is not what the model ids give"),
        (lambda rows: shifted(rows, "repeat", 1), "repeat is not what the model ids give"),
        (lambda rows: shifted(rows, "model_id", 16), "model ids are not those of this partition"),
        (lambda rows: rows[:-1], "model ids are not those of this partition"),
    ],
    ids=["reused", "swapped", "repeats", "shifted", "short"],
)
@pytest.mark.parametrize("role", ["fit", "heldout"])
def test_seeds_that_were_reused_and_rows_that_moved_are_named(built_copy, change, what, role):
    partition = Partition("margins", "small", role, 0)
    reseal(built_copy, partition, change)
    found = named(built_copy)
    assert list(found) == [partition.path]
    assert found[partition.path].startswith(what)


@pytest.mark.row("B3")
@pytest.mark.parametrize(
    ("partition", "change", "what"),
    [
        (MASKS, None, "it has no rows"),
        (FIT[0], None, "it has no rows"),
        (MASKS, {"alpha": 0.25}, "alpha is not what the study gives its masks"),
        (MASKS, {"design": "bernoulli"}, "design is not fixed, the study's"),
        (MASKS, {"alpha": 1.5}, "column alpha holds 1.5, expected 0 to 1"),
        (MASKS, {"design": "stratified"}, "column design holds 'stratified', expected fixed or bernoulli"),
        (FIT[0], {"test_margin": None}, "test_margin is not there exactly where the status is ok"),
        (FIT[0], {"train_margin": None}, "train_margin is not there exactly where the status is ok"),
        (FIT[0], {"status": "diverged"}, "test_margin is not there exactly where the status is ok"),
        (FIT[0], {"status": "fine"}, "column status holds 'fine', expected ok or diverged or failed"),
        (FIT[0], {"test_accuracy": 1.0}, "test accuracies are not the share of positive margins"),
        (FIT[0], {"test_accuracy": 1.25}, "column test_accuracy holds 1.25, expected 0 to 1"),
        (IMAGES, {"label": -1}, "column label holds -1, expected 0 to inf"),
        (IMAGES, {"image_sha256": "0" * 64}, "1 images are not those of their SHA-256 (first: test 0)"),
        (IMAGES, {"image": {"bytes": b"\x89PNG", "path": None}}, "1 images are not those of their SHA-256 (first: test 0)"),
        (IMAGES, {"split": "dev"}, "column split holds 'dev', expected test or train"),
        (FITS, {"mean_margin": 9.0}, "1 test targets have other mean margins than the models (first: 0)"),
        (FITS, {"target_id": 50}, "rows are not in strictly rising order of fit, split, target_id"),
        (FITS, {"n_nonzero": 3}, "1 test targets have another number of weights than"),
        (FITS, {"bias": 9.0}, "of test targets, 4 predictions are not bias plus weights (first: mask 0, target 0)"),
        (WEIGHTS, {"weight": 9.0}, "predictions are not bias plus weights"),
        (WEIGHTS, {"target_id": -1}, "column target_id holds -1, expected 0 to inf"),
        (PREDICTIONS, {"predicted_margin": [0.0]}, "of test targets, predictions are not of 4 masks and 20 targets"),
    ],
)
def test_a_value_that_does_not_follow_is_named(built_copy, partition, change, what):
    """One value of the first row, or all rows gone; told of the file that holds it, or of the one beside it that it is compared with."""
    reseal(built_copy, partition, lambda rows: [] if change is None else [{**rows[0], **change}, *rows[1:]])
    assert what in " ".join(named(built_copy).values())
    assert all(path.split("-")[0] == partition.path.split("-")[0] or partition.table in FITTED for path in named(built_copy))


@pytest.mark.row("B3")
def test_an_identity_that_is_not_the_fingerprint_s_is_named(built_copy):
    facts = built_copy.facts({MASKS: built_copy.present("masks")[MASKS]})[MASKS]
    rows = built_copy.read(MASKS)
    (built_copy.root / MASKS.path).unlink()
    told = replace(facts, identity={**facts.identity, "algorithm": {"name": "other"}})
    parquet.write(rows, TABLES["masks"], told, built_copy.root / MASKS.path)
    assert named(built_copy) == {MASKS.path: f"fingerprint {facts.fingerprint} is not that of its identity"}


@pytest.mark.parametrize("index", [0, 1, 2])
def test_models_of_another_study_are_named_and_the_others_are_not(built_copy, lake, study_of, build_missing, index):
    recipe = {"name": "patchnet", "widths": [4], "epochs": 30, "batch": 10}
    build_missing(lake, study_of(algorithm=recipe, curve=[], estimators=["difference"]))
    theirs = lake.read(FIT[index]).to_pylist()
    reseal(built_copy, FIT[index], lambda rows: theirs)
    found = named(built_copy)
    assert list(found) == [FIT[index].path]
    assert found[FIT[index].path].startswith("its mean margin is +")


@pytest.mark.row("B3")
def test_margins_that_were_copied_from_another_partition_are_named(built_copy):
    rows = built_copy.read(FIT[0]).to_pylist()
    copied = ("test_margin", "train_margin", "test_accuracy", "train_accuracy")
    reseal(built_copy, FIT[2], lambda own: [{**r, **{n: o[n] for n in copied}} for r, o in zip(own, rows, strict=True)])
    what = f"16 of its models have the margins of models in {FIT[0].path}: a seed was reused or rows copied"
    assert named(built_copy) == {FIT[2].path: what}


def test_models_that_failed_are_no_reason_to_stop(built_copy):
    results = ("test_accuracy", "train_accuracy", "test_margin", "train_margin")
    for partition in FIT[:2]:
        reseal(built_copy, partition, lambda rows: [{**row, "status": "diverged", **dict.fromkeys(results)} for row in rows])
    assert {path.split("/")[0] for path in named(built_copy)} == {"fits"}  # which were made of those models


def test_a_damaged_file_does_not_hide_a_wrong_one(built_copy):
    path = built_copy.root / FIT[0].path
    path.write_bytes(path.read_bytes()[:2000])
    reseal(built_copy, MASKS, lambda rows: swap(rows, "mask", 2, 9))
    found = {problem.path: problem.what for problem in verify(built_copy, deep=True)}
    assert sorted(found) == [FIT[0].path, MASKS.path]
    assert found[MASKS.path] == "2 masks are not those of their ids (first: 18)"


def test_a_wrong_partition_is_set_aside_and_made_again(built_copy, small, build_missing, contents):
    before = contents(built_copy)
    reseal(built_copy, MASKS, lambda rows: swap(rows, "mask", 2, 9))
    assert contents(built_copy) != before
    moved = quarantine(built_copy, verify(built_copy, deep=True))
    assert list(moved) == [MASKS.path]
    assert build_missing(built_copy, small).added == {"masks": 1}
    assert contents(built_copy) == before


@pytest.mark.parametrize(("n_partitions", "n_models", "shift"), [(5, 16, 4), (3, 64, 8), (4, 256, 2)])
def test_chance_alone_sets_nobody_aside_and_a_stranger_is_found_alone(monkeypatch, n_partitions, n_models, shift):
    """200 studies of partitions that are alike, then 200 with one that is a few standard deviations off."""
    rng = np.random.default_rng(0)
    partitions = [Partition("margins", "small", "fit", i) for i in range(n_partitions)]
    for off, expected in ((0, []), (shift, [partitions[1].path])):
        for _ in range(200):
            means = {p: rng.normal(off * (p.index == 1), 1, n_models) for p in partitions}
            monkeypatch.setattr(rederive, "_model_means", lambda lake, p, means=means: means[p])
            assert [problem.path for problem in rederive._check_means(None, partitions)] == expected
