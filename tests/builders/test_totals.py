"""Running totals: the sums of the models that ended well, equal by bit however they came about, and never stale."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from builders import loop, masks, rederive, totals
from builders.progress import Progress
from builders.regression import Totals, statistics
from lake.errors import LakeError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

SPLITS = ("test", "train")


@pytest.fixture
def fresh(built_copy: Lake) -> Lake:
    """The small lake without any totals kept."""
    shutil.rmtree(built_copy.root / ".lake" / "totals")
    return built_copy


def same(ours: totals.Pair, theirs: totals.Pair) -> bool:
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for a, b in zip(ours, theirs, strict=True)
        for name in (*statistics.SUMS, "gram")
    )


def rewrite(lake: Lake, index: int, change) -> None:
    """Put other rows in the place of a partition of fit margins; `change` takes and gives a list of rows."""
    partition = Partition("margins", "small", "fit", index)
    rows, facts = lake.read(partition), lake.facts({partition: lake.present("margins")[partition]})[partition]
    lake.quarantine(partition)
    changed = pa.Table.from_pylist(change(rows.to_pylist()), TABLES["margins"].schema)
    lake.publish(partition, changed, facts)


def lost(row: dict, status: str = "failed") -> dict:
    results = ("test_accuracy", "train_accuracy", "test_margin", "train_margin")
    return {**row, "status": status, **dict.fromkeys(results)}


@pytest.mark.parametrize("n_models", [48, 40])
def test_totals_are_the_sums_over_the_models_of_each_part(fresh, small, n_models):
    rows = fresh.scan([Partition("margins", "small", "fit", i) for i in range(3)]).slice(0, n_models)
    margins = np.hstack([np.array(rows[f"{split}_margin"].to_pylist(), float) for split in SPLITS])
    drawn = masks.draw(small, 60, "fit", np.arange(n_models)).astype(float)
    apart = np.arange(n_models) % 5 == 4
    for part, chosen in zip(totals.of_models(fresh, small, n_models, SPLITS), (~apart, apart), strict=True):
        assert part.n_models == chosen.sum()
        assert np.array_equal(part.gram, drawn[chosen].T @ drawn[chosen])
        assert np.allclose(part.cross, drawn[chosen].T @ margins[chosen], rtol=1e-12, atol=1e-9)
        assert np.allclose(part.squares, (margins[chosen] ** 2).sum(0), rtol=1e-12)
        inits = np.arange(n_models)[chosen] % 4
        assert np.array_equal(part.margin_sums, [margins[chosen][inits == i].sum(0) for i in range(4)])
        assert np.array_equal(part.counts, np.bincount(inits, minlength=4))


def test_targets_of_one_split_are_the_first_of_both(fresh, small):
    both, test = totals.of_models(fresh, small, 48, SPLITS), totals.of_models(fresh, small, 48, ("test",))
    assert test[0].n_targets == 20
    assert np.array_equal(both[0].cross[:, :20], test[0].cross)


@pytest.mark.parametrize("steps", [(16, 48), (16, 32, 48), (24, 48), (48, 48)])
def test_totals_that_grew_are_those_made_at_once_by_bit(fresh, small, steps):
    at_once = totals.of_models(fresh, small, 48, SPLITS)
    for n_models in steps:
        grown = totals.of_models(fresh, small, n_models, SPLITS)
        totals.keep(fresh, small, n_models, SPLITS, grown)
    assert same(grown, at_once)


def test_totals_that_grew_are_equal_by_bit_even_where_sums_are_rounded(fresh, small):
    """Margins over the whole range of float16, whose sums of squares float64 cannot hold exactly."""
    rng = np.random.default_rng(0)
    for index in range(3):
        values = (rng.choice([-1, 1], (16, 20)) * 2.0 ** rng.uniform(-14, 15, (16, 20))).astype(np.float16)
        rewrite(fresh, index, lambda rows, v=values: [row | {"test_margin": v[k]} for k, row in enumerate(rows)])
    at_once = totals.of_models(fresh, small, 48, SPLITS)
    for n_models in (16, 24, 40, 48):
        totals.keep(fresh, small, n_models, SPLITS, totals.of_models(fresh, small, n_models, SPLITS))
    assert same(totals.of_models(fresh, small, 48, SPLITS), at_once)


def test_only_new_partitions_are_read(fresh, small, monkeypatch):
    totals.keep(fresh, small, 32, SPLITS, totals.of_models(fresh, small, 32, SPLITS))
    read, original = [], totals.read_models
    monkeypatch.setattr(
        totals, "read_models", lambda lake, study, i, splits: read.append(i) or original(lake, study, i, splits)
    )
    totals.of_models(fresh, small, 48, SPLITS)
    assert read == [2]


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    if how == "flipped":
        path.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) * 6 // 10], "text": b"not an archive"}[how])


@pytest.mark.parametrize("part", ["fit", "heldout"])
@pytest.mark.parametrize("how", ["empty", "cut", "text", "flipped"])
def test_garbled_totals_are_made_again(fresh, small, part, how):
    found = totals.of_models(fresh, small, 48, SPLITS)
    totals.keep(fresh, small, 48, SPLITS, found)
    (path,) = (fresh.root / ".lake" / "totals").rglob(f"*-{part}.npz")
    damage(path, how)
    assert same(totals.of_models(fresh, small, 48, SPLITS), found)


def test_a_part_without_the_other_is_made_again(fresh, small):
    found = totals.of_models(fresh, small, 48, SPLITS)
    totals.keep(fresh, small, 48, SPLITS, found)
    next((fresh.root / ".lake" / "totals").rglob("*-fit.npz")).unlink()
    assert same(totals.of_models(fresh, small, 48, SPLITS), found)


def test_totals_of_a_partition_that_was_built_anew_are_not_taken_for_it(fresh, small):
    before = totals.of_models(fresh, small, 48, SPLITS)
    totals.keep(fresh, small, 48, SPLITS, before)
    rewrite(fresh, 1, lambda rows: [lost(row) if row["model_id"] == 20 else row for row in rows])
    after = totals.of_models(fresh, small, 48, SPLITS)
    assert before[0].n_models - after[0].n_models == 1
    assert not same(after, before)


def test_older_totals_are_dropped_and_those_of_other_studies_are_not(fresh, small, study_of):
    other = study_of(name="small-two")
    found = totals.of_models(fresh, small, 16, SPLITS)
    for chosen, n_models in ((small, 16), (small, 48)):
        totals.keep(fresh, chosen, n_models, SPLITS, found)
    for index in range(3):
        partition = Partition("margins", "small", "fit", index)
        rows, facts = fresh.read(partition), fresh.facts({partition: fresh.present("margins")[partition]})[partition]
        named = rows.set_column(0, TABLES["margins"].schema.field("study_id"), pa.array(["small-two"] * 16))
        fresh.publish(replace(partition, value="small-two"), named, replace(facts, value="small-two"))
    totals.keep(fresh, other, 32, SPLITS, found)
    totals.keep(fresh, small, 48, SPLITS, found)
    kept = sorted(p.relative_to(fresh.root / ".lake" / "totals") for p in (fresh.root / ".lake" / "totals").rglob("*.*"))
    assert [(p.parts[0], *p.stem.split("-")[-2:]) for p in kept] == [
        *(("small", "48", "fit"), ("small", "48", "heldout")),
        *(("small-two", "32", "fit"), ("small-two", "32", "heldout")),
    ]


@pytest.mark.parametrize("gone", [[0], [0, 1, 5], range(16)], ids=["first", "some", "all"])
@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_models_that_failed_are_left_out(fresh, small, gone, status):
    whole = totals.of_models(fresh, small, 48, SPLITS)
    rewrite(fresh, 0, lambda rows: [lost(row, status) if row["model_id"] in gone else row for row in rows])
    found = totals.of_models(fresh, small, 48, SPLITS)
    assert sum(part.n_models for part in found) == 48 - len(gone)
    drawn = masks.draw(small, 60, "fit", np.array(sorted(set(range(48)) - set(gone))))
    assert np.array_equal(sum(part.gram for part in found), drawn.T.astype(int) @ drawn.astype(int))
    assert found[0].n_targets == whole[0].n_targets == 80


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(fresh, small, monkeypatch):
    found = totals.of_models(fresh, small, 48, SPLITS)

    def full(part: Totals, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(statistics, "save", full)
    with pytest.raises(LakeError, match=r"^disk full: "):
        totals.keep(fresh, small, 48, SPLITS, found)
    assert not list((fresh.root / ".lake" / "totals").rglob("*.*"))


def test_models_are_grouped_by_initialisation_and_by_share(lake, study_of):
    mixed = study_of(fit_alphas=[0.25, 0.75], curve=[], estimators=["banzhaf"])
    assert not loop.build_missing(lake, mixed, loop.Options(), Progress(quiet=True)).failures
    assert not list(rederive.check(lake, lake.facts(lake.present("masks") | lake.present("margins"))))
    pair = totals.of_models(lake, mixed, 48, SPLITS)
    whole = statistics.plus(*pair)
    assert whole.counts.tolist() == [6] * 8
    sizes = whole.mask_sums.sum(1) / whole.counts
    assert sizes.tolist() == [15] * 4 + [45] * 4


def test_totals_of_no_models_are_refused(fresh, small):
    with pytest.raises(ValueError, match="totals of 0 models were asked for; at least one is needed"):
        totals.of_models(fresh, small, 0, SPLITS)


def test_initialisations_with_too_few_models_are_fitted_as_one_group():
    few, enough = statistics.empty(8, 2, 5), statistics.empty(8, 2, 5)
    rng = np.random.default_rng(0)
    for part, n in ((few, 19), (enough, 20)):
        masks_ = np.packbits(rng.integers(0, 2, (n, 8)), axis=1)
        statistics.add(part, masks_, rng.normal(size=(n, 2)).astype(np.float16), np.arange(n) % 5)
    nothing = statistics.empty(8, 2, 5)
    assert [part.n_inits for part in totals.blocked((few, nothing))] == [1, 1]
    assert [part.n_inits for part in totals.blocked((enough, nothing))] == [5, 5]


def test_partitions_are_added_alike_in_batches_of_any_size(fresh, small, monkeypatch):
    at_once = totals.of_models(fresh, small, 48, SPLITS)
    monkeypatch.setattr(totals, "BATCH_BYTES", 1)
    assert same(totals.of_models(fresh, small, 48, SPLITS), at_once)


def test_totals_too_large_to_keep_are_made_again(fresh, small, monkeypatch):
    monkeypatch.setattr(totals, "KEEP_BYTES", 1_000)
    found = totals.of_models(fresh, small, 48, SPLITS)
    totals.keep(fresh, small, 48, SPLITS, found)
    assert not list((fresh.root / ".lake").rglob("*.npz"))
    assert same(totals.of_models(fresh, small, 48, SPLITS), found)
