"""The estimators by name, and the best of several for each target.

An estimator is `f(fit, heldout, whole=None, *, threads=1) -> Fit` on the totals of models.
"""

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from builders.regression.difference import difference
from builders.regression.fit import Fit
from builders.regression.lasso import lasso
from builders.regression.ridge import ridge
from builders.regression.shared import shared

ESTIMATORS: dict[str, Callable[..., Fit]] = {
    "lasso": lasso,
    "shared": shared,
    "ridge": ridge,
    "difference": difference,
}


def best(fits: dict[str, Fit]) -> Fit:
    """Return for each target the fit with the lowest held-out error, the first named among equals.

    Raises ValueError without fits, or if they are not of the same targets and train examples.
    """
    shapes = {name: fit.weights.shape for name, fit in fits.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"fits have weights of {shapes or 'no estimator'}; needed: one or more of one shape")
    choice = np.stack([fit.validation_mse for fit in fits.values()]).argmin(0)

    def chosen(name: str) -> np.ndarray:
        stacked = np.stack([getattr(fit, name) for fit in fits.values()])
        return stacked[choice, np.arange(len(choice))]

    return Fit(**{field.name: chosen(field.name) for field in fields(Fit)})
