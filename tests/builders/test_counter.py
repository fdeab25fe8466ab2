"""Counter-based randomness: the same words everywhere, and as random as chance allows."""

import hashlib

import numpy as np
import pytest

from builders import counter


def test_words_are_the_same_bits_everywhere():
    words = counter.words(7, "mask/fit", np.arange(4)[:, None], np.arange(1000)[None])
    assert words.shape == (4, 1000)
    assert hashlib.sha256(words.astype("<u8").tobytes()).hexdigest()[:16] == "51c299c73a372ca7"


@pytest.mark.parametrize(
    "other", [(8, "mask/fit", 3, 5), (7, "mask/heldout", 3, 5), (7, "mask/fit", 5, 3), (7, "mask/fit", 3, 6)]
)
def test_every_argument_changes_the_word(other):
    seed, purpose, *counters = other
    assert counter.words(7, "mask/fit", 3, 5) != counter.words(seed, purpose, *counters)


def test_a_word_depends_on_its_own_counters_alone():
    grid = counter.words(1, "order/fit", np.arange(50)[:, None], np.arange(60)[None])
    assert grid[17, 23] == counter.words(1, "order/fit", 17, 23)
    assert np.array_equal(grid[:, 5:9], counter.words(1, "order/fit", np.arange(50)[:, None], np.arange(5, 9)[None]))


def test_uniforms_are_uniform_and_uncorrelated():
    u = counter.uniform(counter.words(0, "init", np.arange(400)[:, None], np.arange(500)[None]))
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 20, (0, 1))[0]
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8  # chi-square of 19 degrees, one in a thousand
    between_rows = np.corrcoef(u)[np.triu_indices(400, 1)]
    assert abs(between_rows.mean()) < 5 / np.sqrt(len(between_rows) * 500)
    assert np.abs(between_rows).max() < 6 / np.sqrt(500)
