"""Semivalues from the same masks: the Banzhaf value of a train example, and its like for other inclusion probabilities.

A semivalue is the mean effect of including an example over random subsets of the others. With subsets that hold each
example with probability one half it is the Banzhaf value, and its estimator by maximum sample reuse (Wang and Jia 2023,
arXiv 2205.15466) is the mean margin of the models that hold the example minus that of the others; with another probability
it is the weighted Banzhaf value (Li and Yu 2023). Subsets of one size know it up to a constant, as they do every weight.

A study with several inclusion probabilities p gives the average marginal effect, AME (Lin et al. 2022, arXiv 2206.10013): the
mean of those values over p, each p weighing p (1 - p) times its number of models. Lin et al. estimate the AME by a LASSO on
masks coded as 1 / p and -1 / (1 - p); for one p that is the LASSO on masks (builders/regression/lasso.py).
"""

import numpy as np

from builders.regression.fit import Fit, finish, joined, judge
from builders.regression.moments import Centred, centred
from builders.regression.statistics import Totals


def banzhaf(fit: Totals, heldout: Totals, whole: Totals | None = None, *, threads: int = 1) -> Fit:
    """Return the difference of means within models of one initialisation and inclusion probability, over all of them.

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
