"""Linear datamodels from sums over models (Ilyas et al. 2022): LASSO, shared LASSO, ridge and
difference of means.

Models become `Totals`, which add; an estimator turns the totals of a fit part and a held-out part into a `Fit`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builders.regression.estimators import ESTIMATORS, best, first_choice, fit_all
    from builders.regression.fit import Fit
    from builders.regression.statistics import Totals, add, empty, load, plus, save

__all__ = ["ESTIMATORS", "Fit", "Totals", "add", "best", "empty", "first_choice", "fit_all", "load", "plus", "save"]

_MODULES = dict.fromkeys(("ESTIMATORS", "best", "first_choice", "fit_all"), "estimators") | {"Fit": "fit"}


def __getattr__(name: str) -> Any:
    """One of the names above, whose module is imported now: a look at a lake does without the compiler behind them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'statistics')}"), name)
