"""Semivalues: a game worked by hand over all its subsets, for one inclusion probability and for two; the AME's own LASSO."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from builders.regression import add, empty
from builders.regression.banzhaf import banzhaf
from builders.regression.lasso import lasso

SUBSETS = np.array(list(itertools.product([0, 1], repeat=3)), bool)
"""All subsets of three players."""


def game(subsets):
    """1 when players 0 and 1 are both in, 2 when player 2 is: margins [n_models, 1]."""
    return (1.0 * (subsets[:, 0] & subsets[:, 1]) + 2.0 * subsets[:, 2]).astype(np.float32)[:, None]


def totals(subsets, groups, n_groups=1):
    """Sums over models trained on these subsets."""
    return add(empty(3, 1, n_groups), np.packbits(subsets, axis=1), game(subsets), groups)


def drawn_with(p):
    """64 models whose subsets come exactly as often as each player being in with probability p, in quarters, makes them."""
    times = [(4 * p) ** s.sum() * (4 - 4 * p) ** (3 - s.sum()) for s in SUBSETS]
    return np.repeat(SUBSETS, np.array(times, int), axis=0)


def value(p, player):
    """The weighted Banzhaf value from its definition: the mean gain by including a player, over subsets of the others."""
    others = [s for s in SUBSETS if not s[player]]
    share = [np.prod([p if s[j] else 1 - p for j in range(3) if j != player]) for s in others]
    gain = [game((s | (np.arange(3) == player))[None])[0, 0] - game(s[None])[0, 0] for s in others]
    return float(np.dot(share, gain))


def fitted(subsets, groups, n_groups=1):
    """The estimator where both parts hold these models, so that the whole does in the same shares."""
    part = totals(subsets, groups, n_groups)
    return banzhaf(part, part).weights[0]


def test_over_all_subsets_it_is_the_banzhaf_value():
    # a player of the pair gains 1 in two of the four subsets of the others; player 2 always gains 2
    np.testing.assert_allclose(fitted(SUBSETS, np.zeros(8, int)), [0.5, 0.5, 2], rtol=1e-6)
    assert [value(0.5, player) for player in range(3)] == pytest.approx([0.5, 0.5, 2])


def test_with_another_probability_it_is_the_weighted_banzhaf_value():
    subsets = drawn_with(0.75)
    assert len(subsets) == 64
    np.testing.assert_allclose(fitted(subsets, np.zeros(64, int)), [0.75, 0.75, 2], rtol=1e-6)
    assert value(0.75, 0) == pytest.approx(0.75)


def test_with_two_probabilities_it_is_their_average_marginal_effect():
    halves, quarters = drawn_with(0.5), drawn_with(0.75)
    subsets, groups = np.concatenate([halves, quarters]), np.repeat([0, 1], 64)
    # 1/2 with weight 1/2 * 1/2, and 3/4 with weight 3/4 * 1/4: (1/8 + 9/64) / (7/16)
    np.testing.assert_allclose(fitted(subsets, groups, 2), [17 / 28, 17 / 28, 2], rtol=1e-6)
    pooled = fitted(subsets, np.zeros(128, int))
    assert pooled[2] > 2.05  # as one group, larger subsets have larger margins, and every player gets a share of that


def test_for_one_probability_the_lasso_of_the_ame_is_the_lasso_on_masks(planted):
    models = planted(n_inits=1, n_targets=3)
    fit, heldout = (part.totals(1) for part in models.parts())
    ours = lasso(fit, heldout)
    coded = np.where(models.masks, 1 / 0.5, -1 / (1 - 0.5)) / np.sqrt(4)  # over the root of E[1 / (p (1 - p))]
    for target in range(3):
        # a weight is the AME, sqrt(4) times the coefficient, so the same price is twice the penalty
        theirs = Lasso(alpha=2 * ours.lam[target], tol=1e-10, max_iter=50_000).fit(coded, models.margins[:, target])
        np.testing.assert_allclose(ours.weights[target], np.sqrt(4) * theirs.coef_, atol=2e-3)
