"""Datamodels of all targets of a study, fitted a block of targets at a time, so that memory does not grow with their number.

A pair of target and train example takes 24 bytes of totals and 4 in each array of weights and prices: all 60,000 images of
CIFAR-10 on its 50,000 would take 170 GB in one piece. Blocks follow from the sizes of the study alone, and with them every
bit of a fit; how many of them one pass over the models sums follows from the memory of this machine, and changes nothing,
since sums are exact. The shared LASSO learns prices from the weights of all targets: where there are several blocks, paths of
all come first, whose weights are kept as sparse as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from builders import totals
from builders.regression import statistics
from builders.study import Study
from lake import machine
from lake.store import Lake

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from builders.regression import Fit

CELLS = 1 << 27
"""Pairs of a target and a train example in a block, at most: 1 GB of float64."""

MEMORY_SHARE = 8
"""What the totals of one pass may take is the machine's memory over this; more than one worker may fit at a time."""

CELL_BYTES = 16
"""Of the totals to fit on and of those held out."""


class Block(NamedTuple):
    """A block of targets and its fits.

    targets   which of the targets of all splits, side by side
    fits      by estimator
    n_models  that ended well and were fitted on
    """

    targets: slice
    fits: "dict[str, Fit]"
    n_models: int


def in_blocks(lake: Lake, study: Study, n_models: int, splits: tuple[str, ...]) -> Iterator[Block]:
    """Fits of every estimator of the study on its first `n_models` models; ValueError where too few ended well."""
    from builders import regression

    sums = _Sums(lake, study, n_models, splits)
    shares = bool({"shared", "best"} & set(study.estimators)) and len(sums.blocks) > 1
    paths = _Paths.followed(sums) if shares else None
    for targets, pair in sums.each():
        known = paths.known(targets) if paths else {}
        fits, n_used = regression.fit_all(study.estimators, *pair, **known), sum(part.n_models for part in pair)
        del pair  # before the next pass makes others
        yield Block(targets, fits, n_used)


@dataclass(frozen=True)
class _Sums:
    """Totals of a study's models, by blocks of targets."""

    lake: Lake
    study: Study
    n_models: int
    splits: tuple[str, ...]

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Train examples and targets."""
        sizes = totals.sizes(self.study)
        return sizes["train"], sum(sizes[split] for split in self.splits)

    @cached_property
    def blocks(self) -> list[slice]:
        """Targets of each block."""
        n_train, n_targets = self.shape
        n = max(CELLS // n_train, 1)
        return [slice(start, min(start + n, n_targets)) for start in range(0, n_targets, n)]

    @cached_property
    def whole(self) -> totals.Pair:
        """Totals of all targets, which are kept for larger fits when they are of all that are wanted."""
        pair = totals.of_models(self.lake, self.study, self.n_models, self.splits)
        if self.n_models == self.study.models:
            totals.keep(self.lake, self.study, self.n_models, self.splits, pair)
        return pair

    def each(self) -> Iterator[tuple[slice, totals.Pair]]:
        """Blocks with their totals, centred as they are to be fitted; as many in one pass as memory allows."""
        at_once = max(machine.memory() // MEMORY_SHARE // (CELL_BYTES * CELLS), 1)
        for start in range(0, len(self.blocks), at_once):
            some = self.blocks[start : start + at_once]
            first = some[0].start
            columns = slice(first, some[-1].stop)
            pair = self.whole if len(some) == len(self.blocks) else self._of(columns)
            for targets in some:
                inside = slice(targets.start - first, targets.stop - first)
                yield targets, totals.blocked((statistics.of_targets(pair[0], inside), statistics.of_targets(pair[1], inside)))
            del pair

    def _of(self, columns: slice) -> totals.Pair:
        return totals.of_models(self.lake, self.study, self.n_models, self.splits, targets=columns)


@dataclass(frozen=True)
class _Paths:
    """What the held-out models chose on the first paths of all targets.

    lam, errors  [n_targets] float64
    weights      [n_targets, n_train] float32, sparse
    """

    lam: NDArray[np.float64]
    errors: NDArray[np.float64]
    weights: "csr_array"

    @classmethod
    def followed(cls, sums: _Sums) -> "_Paths":
        """Follow the path of every target, block by block."""
        from scipy.sparse import csr_array, vstack

        from builders.regression import first_choice

        lam, errors, weights = [], [], []
        for _, pair in sums.each():
            choice = first_choice(*pair)
            del pair  # before the next pass makes others
            for found, values in ((lam, choice.lam), (errors, choice.errors), (weights, csr_array(choice.weights))):
                found.append(values)
        return cls(np.concatenate(lam), np.concatenate(errors), csr_array(vstack(weights)))

    def known(self, targets: slice) -> dict[str, Any]:
        """What the fits of a block take from the paths of all: its own first choice, and prices."""
        from builders.regression.lasso import Choice
        from builders.regression.shared import learned_prices

        first = Choice(self.lam[targets], self.weights[targets].toarray(), self.errors[targets])
        return {"first": first, "prices": learned_prices(self.weights, targets)}
