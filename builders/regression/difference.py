"""Difference of means, or empirical influence (Feldman and Zhang 2020; Ilyas et al. 2022, appendix J): the mean margin
of the models that hold a train example minus that of the others.

It is the regression on one column at a time, cov(x_j, y) / var(x_j), so it needs no solver and is the yardstick for
the estimators that do. For fixed-size subsets it tends to n / (n - 1) times the weight less the mean weight. The same
within models that began alike is `banzhaf`, which is less noisy.
"""

from builders.regression.banzhaf import banzhaf
from builders.regression.fit import Fit, joined
from builders.regression.statistics import Totals, pooled


def difference(fit: Totals, heldout: Totals, whole: Totals | None = None, *, threads: int = 1) -> Fit:
    """Return the plain difference of means over all models, whatever their initialisation: what a query computes.

    Its held-out error is about the overall means too, so it counts the noise between initialisations.
    Raises ValueError if the totals differ in shape, or hold too few models; `threads` is ignored.
    """
    whole = joined(fit, heldout, whole)
    return banzhaf(pooled(fit), pooled(heldout), pooled(whole))
