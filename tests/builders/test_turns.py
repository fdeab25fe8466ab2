"""Turns: the own share first, then others' pieces that nobody has at hand; little is done twice."""

import random
import sys
from pathlib import Path

import pytest

from builders.turns import EVERY, take

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from measure_sharing import simulate


def missing(*indices: int) -> list[tuple[int, int]]:
    return [(i, i) for i in indices]


def test_the_own_share_comes_first_and_in_order():
    assert take(missing(*range(100)), (2, 5), random.Random(0)) == list(range(1, 50, 5))
    assert take(missing(1, 3, 6, 7), (2, 5), random.Random(0)) == [1, 6]


def test_no_worker_of_many_goes_without():
    assert len(take(missing(*range(100)), (1, 1), random.Random(0), workers=64)) == 64
    assert len(take(missing(*range(0, 500, 5)), (2, 5), random.Random(0), workers=64)) == 20
    assert len(take(missing(*range(100)), (1, 1), random.Random(0), workers=2)) == EVERY


def test_then_pieces_that_their_owner_has_not_at_hand():
    rng, left = random.Random(0), [i for i in range(100) if i % 2 == 0]
    taken = take(missing(*left), (2, 2), rng)
    assert len(taken) == len(set(taken)) == EVERY
    assert not set(taken) & set(left[:EVERY])


def test_fewer_as_fewer_are_left_but_always_one():
    sizes = [len(take(missing(*range(0, 5 * n, 5)), (2, 5), random.Random(0))) for n in (100, 30, 10, 3, 1)]
    assert sizes == [10, 6, 2, 1, 1]
    assert take([], (1, 1), random.Random(0)) == []


@pytest.mark.parametrize("shard", [(1, 1), (3, 3)])
def test_alone_everything_is_built_once(shard):
    left, built = dict(missing(*range(35))), []
    while left:
        turn = take(list(left.items()), shard, random.Random(0))
        built += turn
        for piece in turn:
            del left[piece]
    assert sorted(built) == list(range(35))


def test_five_workers_and_300_partitions_waste_little_in_few_commits():
    runs = [simulate(seed) for seed in range(30)]
    assert sum(wasted for wasted, _ in runs) / 30 <= 0.12
    assert sum(commits for _, commits in runs) / 30 <= 40
    assert min(wasted for wasted, _ in runs) >= 0
