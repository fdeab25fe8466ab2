"""The search for the smallest set that flips: what it ends with on targets of a known support, with and without noise."""

from hypothesis import given
from hypothesis import strategies as st

from builders.search import TOLERANCE, Search


def ran(search: Search, flips, limit: int = 60) -> list[tuple[int, bool]]:
    """Steps of a search in which `flips(size, confirming)` says how each went."""
    steps = []
    while step := search.step():
        steps.append(step)
        search.saw(*step, flips(*step))
        assert len(steps) < limit
    return steps


def test_it_begins_with_the_prediction_then_a_fifth_more_then_bisects():
    assert ran(Search(50, 200), lambda size, confirming: size >= 57) == [(50, False), (60, False), (55, False), (60, True)]


@given(guess=st.integers(1, 300), support=st.integers(1, 400))
def test_without_noise_the_number_is_right_within_the_tolerance_and_confirmed(guess, support):
    search = Search(guess, 300)
    steps = ran(search, lambda size, confirming: size >= support)
    if support > 300:
        assert (search.high, search.confirmed) == (None, False)
        assert steps[-1] == (300, False)
        return
    assert search.confirmed
    assert support <= search.high <= support + max(1, TOLERANCE * search.high)
    assert [confirming for _, confirming in steps] == [False] * (len(steps) - 1) + [True]


@given(guess=st.integers(1, 50), most=st.integers(50, 60), luck=st.randoms(use_true_random=False))
def test_with_noise_it_ends_and_what_it_ends_with_was_confirmed(guess, most, luck):
    search, seen = Search(guess, most), {}

    def flips(size, confirming):
        return seen.setdefault((size, confirming), luck.random() < size / most)

    steps = ran(search, flips)
    assert all(1 <= size <= most for size, _ in steps)
    assert search.confirmed == seen.get((search.high, True), False)
    assert search.confirmed or search.low == most


def test_a_number_that_is_refuted_is_made_larger_until_one_is_confirmed():
    steps = ran(Search(40, 100), lambda size, confirming: size >= (48 if confirming else 40))
    assert steps[-3:] == [(40, True), (44, True), (48, True)]
    search = Search(95, 100)
    assert ran(search, lambda size, confirming: not confirming)[-1] == (100, True) or search.low < 100
    assert not search.confirmed
