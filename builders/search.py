"""Bisection for the smallest set that flips a target: how many examples to try next, given how the tries before went.

Ilyas et al. 2022 (data support): order the training examples, begin where the prediction crosses zero, then take 1.2 times as
many, then bisect. Tries are noisy and a search keeps the luckiest, so the number it ends with is confirmed by models that
took no part in it; one that is refuted is made larger. What is found is an upper bound: a smaller set, or another of the same
size, may flip the target too.
"""

from dataclasses import dataclass

TOLERANCE = 0.1
"""Bisection ends when the smallest number that flips is known to this share of it."""


@dataclass
class Search:
    """`low` examples do not flip the target, `high` do, or none are known that do; 0 <= `low` < `high` <= `most`."""

    guess: int
    """Number of examples to begin with, 1 to `most`."""
    most: int
    """No larger number is tried."""
    low: int = 0
    high: int | None = None
    confirmed: bool = False
    """Whether models that took no part in the search agree about `high`."""
    refuted: bool = False
    """Whether such models disagreed about `low`."""

    def step(self) -> tuple[int, bool] | None:
        """(number of examples to try, whether by models that took no part in the search); None at the end."""
        if self.confirmed or self.low == self.most:
            return None
        if self.refuted:
            return min(self.low + max(round(TOLERANCE * self.low), 1), self.most), True
        if self.high is None:
            factor = 1.2 if self.low == self.guess else 1.5
            return (min(max(round(factor * self.low), self.low + 1), self.most) if self.low else self.guess), False
        if self.high - self.low <= max(1, TOLERANCE * self.high):
            return self.high, True
        return (self.low + self.high) // 2, False

    def saw(self, size: int, confirming: bool, flips: bool) -> None:
        """Take in how a step went."""
        if flips:
            self.high, self.confirmed = size, confirming
        else:
            self.low, self.refuted = size, confirming
            self.high = self.high if self.high is not None and self.high > size else None
