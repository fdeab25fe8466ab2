"""How two things are timed against each other: taking turns, in CPU seconds, by medians."""

import statistics
import time
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
"""One line of the bench: ours, peer, peer_name, ratio, unit, and optional notes."""


def in_turns(
    ours: Callable[[], Any], peer: Callable[[], Any], rounds: int = 5, clock: Callable[[], float] = time.process_time
) -> tuple[float, float]:
    """Median CPU seconds of each, after one call of both that is not counted; other seconds by another clock."""
    ours(), peer()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, times in zip((ours, peer), spent, strict=True):
            start = clock()
            work()
            times.append(clock() - start)
    return statistics.median(spent[0]), statistics.median(spent[1])


def faster(ours: float, peer: float, peer_name: str, unit: str, **notes: Any) -> Row:
    """A row of two amounts of which less is better."""
    return {"ours": ours, "peer": peer, "peer_name": peer_name, "ratio": peer / ours, "unit": unit, **notes}


def greater(ours: float, peer: float, peer_name: str, unit: str, **notes: Any) -> Row:
    """A row of two amounts of which more is better."""
    return {"ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ours / peer, "unit": unit, **notes}
