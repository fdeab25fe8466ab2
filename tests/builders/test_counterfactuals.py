"""Retrains: everything but the set, coupled to the base; killed, halved or built twice they come out the same."""

import shutil

import numpy as np
import pytest

from builders import datasets, masks, removals
from builders.orders import STREAM, base_init
from builders.training.interface import Group
from builders.training.patchnet import orders
from builders.training.registry import PatchNet
from lake.partition import Partition
from lake.store import Lake


@pytest.fixture(scope="module")
def role(checked_study):
    """Role of the study's own retrains."""
    return next(iter(removals.roles(checked_study)))


def all_rows(lake: Lake, table: str, role: str) -> list[dict]:
    return lake.scan(sorted(p for p in lake.present(table) if p.role == role)).to_pylist()


def test_a_mask_is_everything_but_the_set_and_the_first_is_everything(checked, role):
    removed = {row["removal_id"]: row["removed"] for row in all_rows(checked, "removals", role)} | {0: []}
    partitions = sorted(p for p in checked.present("masks") if p.role == role)
    rows = checked.scan(partitions)
    drawn = masks.unpack(rows, 60)
    assert rows["mask_id"].to_pylist() == list(range(59)) == sorted(removed)
    for mask_id, mask in enumerate(drawn):
        assert np.flatnonzero(~mask).tolist() == sorted(removed[mask_id])
    assert np.allclose(rows["alpha"].to_numpy(), drawn.mean(1))


def test_repeats_share_weights_and_order_with_the_base(checked, checked_study, role):
    rows = all_rows(checked, "margins", role)
    assert [row["model_id"] for row in rows] == list(range(len(rows)))
    counts = {i: [row["repeat"] for row in rows if row["mask_id"] == i] for i in range(59)}
    many = [r.repeats for r in removals.planned(checked_study)]
    assert [len(counts[i]) for i in range(59)] == many
    assert set(many[:17]) == {2}
    assert {row["init_id"] - row["repeat"] for row in rows} == {base_init(checked_study)}
    assert base_init(checked_study) == 4 + 4 * 4  # behind the pool and the held-out models


def test_what_remains_is_visited_in_the_same_order():
    whole, cut = np.ones((1, 20), bool), np.ones((1, 20), bool)
    cut[0, [3, 8]] = False
    recipe = PatchNet(epochs=3, batch=5)
    ids = np.array([7])
    seen = [orders(recipe, Group(1, STREAM, mask, ids, ids))[0][0].tolist() for mask in (whole, cut)]
    for epoch in range(3):
        full, less = seen[0][20 * epoch : 20 * epoch + 20], seen[1][18 * epoch : 18 * epoch + 18]
        assert less == [i for i in full if i not in (3, 8)][: len(less)]


def test_a_margin_is_that_of_the_model_trained_by_hand(checked, checked_study, role):
    data = datasets.load(checked_study.dataset)
    row = next(r for r in all_rows(checked, "margins", role) if r["mask_id"] == 5 and r["repeat"] == 1)
    (removed,) = {tuple(r["removed"]) for r in all_rows(checked, "removals", role) if r["removal_id"] == 5}
    mask, one = np.ones((1, 60), bool), np.array([1])
    mask[0, list(removed)] = False
    group = Group(checked_study.seed, "removal", mask, base_init(checked_study) + one, one)
    logits = checked_study.algorithm.prepare(data)(group).test[0]
    right = np.eye(10, dtype=bool)[data.test_labels]
    margin = logits[right] - np.where(right, -np.inf, logits).max(1)
    assert np.array_equal(row["test_margin"], margin.astype(np.float16))


def test_the_other_algorithm_was_trained_on_the_same_masks(checked, checked_study, role):
    (other,) = set(removals.roles(checked_study)) - {role}
    first, second = ({r["mask_id"]: r["mask"] for r in all_rows(checked, "masks", name)} for name in (role, other))
    assert first == second
    margins = [all_rows(checked, "margins", name)[0]["test_margin"] for name in (role, other)]
    assert margins[0] != margins[1]


def test_twice_adds_nothing_and_half_then_rest_equals_all(built_copy, checked, checked_study, build_missing, contents):
    lake = built_copy
    half = build_missing(lake, checked_study, shard=(1, 2))
    assert half.left
    rest = build_missing(lake, checked_study)
    assert rest.added["margins"] > 0
    assert contents(lake) == contents(checked)
    assert build_missing(lake, checked_study).added == {}


@pytest.mark.parametrize("nth", [4, pytest.param(1, marks=pytest.mark.slow), pytest.param(23, marks=pytest.mark.slow)])
def test_a_build_killed_at_any_publish_goes_on_to_the_same_lake(
    nth, built_copy, checked, checked_study, build_missing, contents, monkeypatch
):
    publish, calls = Lake.publish, []

    def killed(self, partition, rows, facts):
        calls.append(partition)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return publish(self, partition, rows, facts)

    monkeypatch.setattr(Lake, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        build_missing(built_copy, checked_study)
    monkeypatch.undo()
    report = build_missing(built_copy, checked_study)
    assert sum(report.added.values()) == 28 - (nth - 1)
    assert contents(built_copy) == contents(checked)


def test_a_lost_partition_comes_back_the_same(checked, checked_study, role, tmp_path, build_missing, contents):
    lake = Lake(shutil.copytree(checked.root, tmp_path / "lake"))
    lost = [Partition("margins", "small", role, 2), Partition("removals", "small", role, 0)]
    lost += [p for p in lake.present("supports") if p.index == 1]
    for partition in lost:
        (lake.root / partition.path).unlink()
    report = build_missing(lake, checked_study)
    assert report.added == {"margins": 1, "removals": 1, "supports": 1}
    assert contents(lake) == contents(checked)
