"""Planted models: masks, and margins that a sparse linear datamodel, an initialisation and noise make up."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from builders.regression import Totals, add, empty


@dataclass(frozen=True)
class Models:
    """Rows, for the reference computations that the package does without.

    masks [n_models, n_train] bool, margins [n_models, n_targets] float32, init_ids [n_models],
    weights [n_targets, n_train] planted.
    """

    masks: np.ndarray
    margins: np.ndarray
    init_ids: np.ndarray
    weights: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> "Models":
        return replace(self, masks=self.masks[rows], margins=self.margins[rows], init_ids=self.init_ids[rows])

    def totals(self, n_inits: int = 4) -> Totals:
        """Sums over all rows."""
        totals = empty(self.masks.shape[1], self.margins.shape[1], n_inits)
        return add(totals, np.packbits(self.masks, axis=1), self.margins, self.init_ids)

    def centred(self, around: "Models | None" = None) -> tuple[np.ndarray, np.ndarray]:
        """Float64 masks and margins less the means of their initialisation, in these models or in others."""
        around = around or self
        x, y = self.masks.astype(np.float64), self.margins.astype(np.float64)
        for init in np.unique(self.init_ids):
            own = self.init_ids == init
            like = around.init_ids == init if (around.init_ids == init).any() else slice(None)
            x[own] -= around.masks[like].mean(0)
            y[own] -= around.margins[like].astype(np.float64).mean(0)
        return x, y

    def parts(self) -> tuple["Models", "Models"]:
        """Four fifths to fit on, one fifth held out."""
        apart = np.arange(len(self.masks)) % 5 == 4
        return self[~apart], self[apart]


def plant(
    n_models: int = 600, n_train: int = 60, n_targets: int = 12, n_inits: int = 4, noise: float = 0.5, seed: int = 0
) -> Models:
    """Fixed-size subsets of half the train examples; 6 planted effects a target, and a shift for each initialisation."""
    rng = np.random.default_rng(seed)
    masks = np.argsort(rng.random((n_models, n_train)), axis=1) < n_train // 2
    weights = np.zeros((n_targets, n_train))
    for row in weights:
        row[rng.choice(n_train, 6, replace=False)] = rng.choice([-1, 1], 6) * rng.uniform(0.3, 2, 6)
    init_ids = rng.integers(0, n_inits, n_models)
    shift = rng.normal(0, 2, (n_inits, n_targets))[init_ids]
    margins = 3 + masks @ weights.T + shift + noise * rng.normal(size=(n_models, n_targets))
    return Models(masks, margins.astype(np.float32), init_ids, weights)


@pytest.fixture(scope="session")
def planted() -> Callable[..., Models]:
    """`plant`, for tests."""
    return plant


@pytest.fixture(scope="session")
def models() -> Models:
    """600 planted models of 60 train examples and 12 targets, from 4 initialisations."""
    return plant()
