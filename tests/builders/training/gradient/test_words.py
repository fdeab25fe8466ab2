"""Words on the device: the bits of builders/counter.py, its order, and fields that reach every value."""

import numpy as np
import pytest
import torch

from builders import counter
from builders.training.gradient.words import below, order, words


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_words_are_those_of_numpy_bit_for_bit(seed):
    a, b = np.arange(50)[:, None], np.array([0, 3, 2**40])[None]
    ours = words(seed, "order/fit", torch.from_numpy(a), 9, torch.from_numpy(b))
    assert np.array_equal(ours.numpy().view(np.uint64), counter.words(seed, "order/fit", a, 9, b))


def test_order_sorts_them_as_unsigned_numbers():
    theirs = counter.words(1, "order/fit", np.arange(3)[:, None], np.arange(200))
    ours = order(words(1, "order/fit", torch.arange(3)[:, None], torch.arange(200)))
    assert np.array_equal(ours.numpy(), np.argsort(theirs, axis=1))


def test_fields_are_uniform_and_have_nothing_to_do_with_each_other():
    word = words(0, "augment/fit", torch.arange(20_000))
    fields = torch.stack([below(word, i, 5) for i in range(4)] + [word & 1])
    assert all(fields[i].unique().tolist() == [0, 1, 2, 3, 4] for i in range(4))
    assert torch.bincount(fields[0], minlength=5).float().std() < 200
    assert (torch.corrcoef(fields.float()) - torch.eye(5)).abs().max() < 0.03
