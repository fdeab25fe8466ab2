"""Uncoordinated machines: work done twice and commits, by simulation of builders/turns.py.

Five machines of one speed and 300 partitions whose costs vary (log-normal, sigma 0.5), each machine seeing the others' work
only as far as it was pushed when it last looked. The peer builds in the order of the listing and pushes as often.
"""

import heapq
import random
from collections.abc import Callable
from statistics import mean

from timing import Row

from builders.turns import EVERY, take

WORKERS, PARTITIONS, SEEDS = 5, 300, 30

Rule = Callable[[list[tuple[int, int]], tuple[int, int], random.Random], list[int]]


def listing_order(missing: list[tuple[int, int]], shard: tuple[int, int], rng: random.Random) -> list[int]:
    """What a loop without shares does."""
    return [piece for _, piece in missing[:EVERY]]


def simulate(seed: int, rule: Rule = take) -> tuple[float, int]:
    """Share of the work that was done in vain, and commits, of one run."""
    rng = random.Random(seed)
    cost = [rng.lognormvariate(0, 0.5) for _ in range(PARTITIONS)]
    mirror: set[int] = set()
    spent, commits = 0.0, 0
    ends = [(rng.random(), worker, []) for worker in range(WORKERS)]
    heapq.heapify(ends)
    while ends:
        now, worker, built = heapq.heappop(ends)
        commits += not mirror.issuperset(built)
        mirror.update(built)
        turn = rule([(p, p) for p in range(PARTITIONS) if p not in mirror], (worker + 1, WORKERS), rng)
        spent += sum(cost[p] for p in turn)
        if turn:
            heapq.heappush(ends, (now + sum(cost[p] for p in turn), worker, turn))
    return spent / sum(cost) - 1, commits


def twice() -> Row:
    """Work done in vain, as a share of the work."""
    runs = [simulate(seed) for seed in range(SEEDS)]
    peer = [simulate(seed, listing_order) for seed in range(SEEDS)]
    ours, theirs = (mean(wasted for wasted, _ in each) for each in (runs, peer))
    note = f"{mean(commits for _, commits in runs):.0f} commits, theirs {mean(commits for _, commits in peer):.0f}"
    return Row(ours=ours, peer=theirs, peer_name="listing order", ratio=theirs / ours, unit="share", note=note)


BENCHES = {"shared_work_wasted": twice}
