"""What models see: orders and views keyed by example, whole batches, and the learning rates of the released recipe."""

import numpy as np
import pytest
import torch

from builders import counter
from builders.training.gradient.tables import Rounds, rates, visits
from builders.training.recipes import ResNet9


def test_an_epoch_is_the_subset_in_the_order_of_its_words(group_of):
    group = group_of()
    examples, _ = visits(Rounds(2, 10), group, 1, "cpu")
    members = np.flatnonzero(group.masks[1])
    for epoch, seen in enumerate(examples.reshape(2, 20).numpy()):
        assert np.array_equal(seen, members[np.argsort(counter.words(5, "order/fit", 11, epoch, members))])


def test_taking_an_example_away_leaves_order_and_views_of_the_rest(group_of):
    group = group_of()
    gone = np.flatnonzero(group.masks[0])[3]
    whole, fewer = group.take(np.array([0])), group.take(np.array([0]))
    fewer.masks[0, gone] = False
    seen = [torch.stack(visits(Rounds(3, 1, "alternate"), g, 0, "cpu")) for g in (whole, fewer)]
    assert torch.equal(seen[0][:, seen[0][0] != gone], seen[1].reshape(2, -1))


def test_what_is_left_of_a_subset_after_whole_batches_waits_for_the_next_epoch(group_of):
    examples, draws = visits(Rounds(4, 8), group_of(), 0, "cpu")
    assert examples.shape == draws.shape == (8, 8)
    assert all(len(set(pair.ravel().tolist())) == 16 for pair in examples.reshape(4, 2, 8))


def test_a_subset_smaller_than_a_batch_is_gone_round(group_of):
    examples, _ = visits(Rounds(1, 50), group_of(), 0, "cpu")
    assert examples.shape == (1, 50)
    assert torch.equal(examples[0, :20], examples[0, 20:40])


def test_flips_by_turns_and_by_coins(group_of):
    sides = {}
    for flip in ("none", "random", "alternate"):
        examples, draws = (table.reshape(6, 20) for table in visits(Rounds(6, 20, flip), group_of(), 0, "cpu"))
        places = examples.argsort(1)
        sides[flip] = draws.gather(1, places) & 1
    assert not sides["none"].any()
    assert torch.equal(sides["alternate"][1:], 1 - sides["alternate"][:-1])
    assert 0 < sides["alternate"][0].sum() < 20
    assert 0.3 < sides["random"].float().mean() < 0.7
    assert not torch.equal(sides["random"][0], sides["random"][2])


@pytest.mark.parametrize(("alpha", "an_epoch"), [(0.1, 9), (0.2, 19), (0.5, 48), (0.75, 73), (1.0, 97)])
def test_iterations_an_epoch_are_those_of_the_released_recipe(alpha, an_epoch):
    recipe = ResNet9()
    assert Rounds(recipe.epochs, recipe.batch).an_epoch(round(alpha * 50_000)) == an_epoch


def test_learning_rates_are_those_of_the_released_recipe():
    """A triangle by np.interp, as the released code computes it: 0 at the first step, 0.5 at epoch 5, 0 at epoch 24."""
    recipe, an_epoch = ResNet9(), 48
    theirs = 0.5 * np.interp(np.arange(24 * an_epoch), [0, 5 * an_epoch, 24 * an_epoch], [0, 1, 0])
    ours = recipe.learning_rate * rates(24 * an_epoch, recipe.warmup)
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert (ours[0], ours.argmax(), ours.max()) == (0, 5 * an_epoch, pytest.approx(0.5))
    assert ours[-1] == pytest.approx(0.5 / (19 * an_epoch))


def test_rates_without_warm_up_fall_from_the_start_and_stop_where_they_are_told():
    assert rates(4, 0) == pytest.approx([1, 0.75, 0.5, 0.25])
    assert rates(8, 0, until=0.5) == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0])
