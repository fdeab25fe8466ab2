"""The estimators by name, and the best of several for each target.

An estimator is `f(fit, heldout, whole=None, *, threads=1) -> Fit` on the totals of models.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from builders.regression.banzhaf import banzhaf
from builders.regression.difference import difference
from builders.regression.fit import Fit, joined
from builders.regression.lasso import Choice, lasso, solver
from builders.regression.ridge import ridge
from builders.regression.shared import shared
from builders.regression.statistics import Totals

ESTIMATORS: dict[str, Callable[..., Fit]] = {
    "lasso": lasso,
    "shared": shared,
    "ridge": ridge,
    "difference": difference,
    "banzhaf": banzhaf,
}

CANDIDATES = ("lasso", "shared", "ridge", "difference")
"""What `best` chooses among: `banzhaf` estimates what `difference` does, with less noise, and is first for no target."""


def fit_all(
    names: tuple[str, ...], fit: Totals, heldout: Totals, first: Choice | None = None, prices: np.ndarray | None = None
) -> dict[str, Fit]:
    """A fit by each named estimator, `best` being chosen among `CANDIDATES`; both LASSOs share their first path.

    first   what `first_choice` gave, if the caller has it
    prices  [n_targets, n_train] float32: of the shared LASSO, learned from more targets than these

    Raises KeyError for an unknown name, and ValueError where the totals hold too few models.
    """
    whole = joined(fit, heldout, None)
    wanted = tuple(dict.fromkeys((*names, *CANDIDATES))) if "best" in names else names
    options = dict[str, dict[str, Any]]()
    if {"lasso", "shared"} & set(wanted):
        by = solver(fit, heldout)
        path = {"by": by, "first": first or by.choose(np.ones((fit.n_targets, fit.n_train), np.float32))}
        options = {"lasso": path, "shared": path | {"learned": prices}}
    fits = {name: ESTIMATORS[name](fit, heldout, whole, **options.get(name, {})) for name in wanted if name != "best"}
    return fits | ({"best": best({name: fits[name] for name in CANDIDATES})} if "best" in names else {})


def first_choice(fit: Totals, heldout: Totals) -> Choice:
    """What the held-out models choose on the first path of both LASSOs; ValueError where there are too few models."""
    joined(fit, heldout, None)
    return solver(fit, heldout).choose(np.ones((fit.n_targets, fit.n_train), np.float32))


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
