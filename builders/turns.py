"""Who builds what when several machines share a study and nothing but a mirror: own share first, then that of the others.

A machine takes a turn, pushes, looks again, and takes the next. Nobody claims anything: equal work is recognised, and the rule
keeps it rare. Once its own share is done, a machine takes others' pieces at random, but not those that their owner has at
hand, and fewer a turn as fewer are left. Simulated with five equal machines and 300 pieces of random cost: 9% of the work is
done twice, in 32 commits (tests/bench/measure_sharing.py).
"""

import random
from collections.abc import Sequence
from typing import TypeVar

EVERY = 10
"""Pieces a turn, or one a worker where there are more; each turn ends with a commit, and the Hub allows about 128 an hour to
all of a user's machines."""
SECONDS = 600.0
"""No piece is started later in a turn than this."""

Piece = TypeVar("Piece")


def take(missing: Sequence[tuple[int, Piece]], shard: tuple[int, int], rng: random.Random, workers: int = 1) -> list[Piece]:
    """Pieces to build before the next push, of those that are `missing` as (index, piece) in the order of the plan.

    `shard` is (i, n): our share is every index that is i - 1 modulo n. `workers` pieces are built at once.
    """
    (i, n), most = shard, max(EVERY, workers)
    shares = [[piece for index, piece in missing if index % n == share] for share in range(n)]
    if own := shares[i - 1]:
        return own[:most]
    idle = [piece for share in shares for piece in share[EVERY:]] or [piece for _, piece in missing]
    return rng.sample(idle, min(len(idle), max(1, min(most, len(missing) // n))))
