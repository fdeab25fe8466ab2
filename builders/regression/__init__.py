"""Linear datamodels from sums over models (Ilyas et al. 2022): LASSO, shared LASSO, ridge and
difference of means.

Models become `Totals`, which add; an estimator turns the totals of a fit part and a held-out part into a `Fit`.
"""

from builders.regression.estimators import ESTIMATORS, best, fit_all
from builders.regression.fit import Fit
from builders.regression.statistics import Totals, add, empty, load, plus, save

__all__ = ["ESTIMATORS", "Fit", "Totals", "add", "best", "empty", "fit_all", "load", "plus", "save"]
