"""C as a matrix or as masks: both are the centred Gram of the rows, around their own means or those of others."""

import numpy as np
import pytest
import torch

from builders.regression import operators
from builders.regression.moments import centred
from builders.regression.operators import Dense, Rows, operator


@pytest.fixture(params=[30, 300], ids=["masks", "gram"])
def held(request, planted):
    """(operator, C in float64): of held-out models around the means of others, whose pool lacks an initialisation."""
    fit, heldout = planted(5 * request.param).parts()
    fit = fit[fit.init_ids != 2]
    parts = heldout.totals(), fit.totals()
    c = operator(*parts, torch.device("cpu"))
    assert isinstance(c, Rows if request.param == 30 else Dense)
    return c, centred(*parts, dtype=np.float64).gram


def test_products_are_those_of_the_centred_gram(held):
    c, gram = held
    w = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 60)))
    np.testing.assert_allclose(c.exact(w), w.numpy() @ gram, atol=1e-12)
    np.testing.assert_allclose(c.product(w.float()), w.numpy() @ gram, atol=1e-5)
    np.testing.assert_allclose(c.diagonal, gram.diagonal(), atol=1e-6)


def test_blocks_are_those_of_the_members(held):
    c, gram = held
    members = torch.tensor([[0, 5, 59], [7, 9, 2]])
    np.testing.assert_allclose(c.packed(members), [gram[np.ix_(m, m)] for m in members], atol=1e-6)


def test_the_diagonal_is_kept_out_of_what_is_rounded(planted, monkeypatch):
    totals = planted().totals()
    c, gram = operator(totals, totals, torch.device("cpu")), centred(totals, dtype=np.float64).gram
    monkeypatch.setattr(operators, "fast", lambda a, b: a.bfloat16().float() @ b.bfloat16().float())
    w = torch.zeros(1, 60)
    w[0, 4] = 1 + 2**-9  # bfloat16 has 8 bits
    np.testing.assert_allclose(c.product(w)[0, 4], w[0, 4] * gram[4, 4], rtol=1e-6)


def test_the_setting_for_products_is_put_back():
    setting = torch.backends.cuda.matmul
    name = "fp32_precision" if hasattr(setting, "fp32_precision") else "allow_tf32"
    before = getattr(setting, name)
    with operators.rounding(False):
        exact = getattr(setting, name)
        assert operators.fast(torch.eye(2), torch.ones(2, 2)).tolist() == [[1, 1], [1, 1]]
        with operators.rounding(True):
            assert getattr(setting, name) != exact
        assert getattr(setting, name) == exact
    assert getattr(setting, name) == before
