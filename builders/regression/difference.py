"""Difference of means, or empirical influence (Feldman and Zhang 2020; Ilyas et al. 2022, appendix J): the mean margin
of the models that hold a train example minus that of the others.

It is the regression on one column at a time, cov(x_j, y) / var(x_j), so it needs no solver and is the yardstick for
the estimators that do. For fixed-size subsets it tends to n / (n - 1) times the weight less the mean weight.
"""

import numpy as np

from builders.regression.fit import Fit, finish, joined, judge
from builders.regression.moments import Centred, centred
from builders.regression.statistics import Totals, pooled


def difference(fit: Totals, heldout: Totals, whole: Totals | None = None, *, threads: int = 1) -> Fit:
    """Return the plain difference of means over all models, whatever their initialisation: what a query computes.

    Its held-out error is about the overall means too, so it counts the noise between initialisations.
    Raises ValueError if the totals differ in shape, or hold too few models; `threads` is ignored.
    """
    whole = joined(fit, heldout, whole)
    return difference_within(pooled(fit), pooled(heldout), pooled(whole))


def difference_within(fit: Totals, heldout: Totals, whole: Totals | None = None, *, threads: int = 1) -> Fit:
    """Return the difference of means with masks and margins centred within initialisations, which is less noisy.

    Raises ValueError if the totals differ in shape, or hold too few models; `threads` is ignored.
    """
    whole = joined(fit, heldout, whole)
    judged = judge(centred(heldout, around=fit), _slopes(centred(fit)))
    return finish(whole, _slopes(centred(whole, dtype=np.float64)), judged)


def _slopes(moments: Centred) -> np.ndarray:
    """cov / var of each column, `[n_targets, n_train] float32`; a constant column has none and gets zero."""
    variance = moments.gram.diagonal()[:, None]
    slopes = np.divide(moments.cross, variance, out=np.zeros_like(moments.cross), where=variance > 0)
    return np.ascontiguousarray(slopes.T, np.float32)
