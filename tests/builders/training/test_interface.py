"""The interface of learning algorithms: groups that can be split, and pixels on one scale."""

import numpy as np
import pytest

from builders import datasets
from builders.study import Dataset
from builders.training.interface import Group, standardised


def test_a_group_can_be_taken_apart_and_repeated():
    masks = np.eye(4, dtype=bool)
    group = Group(3, "heldout", masks, np.arange(10, 14), np.arange(20, 24))
    part = group.take(np.array([2, 0, 2]))
    assert (part.seed, part.role, part.n_models) == (3, "heldout", 3)
    assert np.array_equal(part.masks, masks[[2, 0, 2]])
    assert part.init_ids.tolist() == [12, 10, 12]
    assert part.order_ids.tolist() == [22, 20, 22]


def test_training_pixels_have_mean_0_and_sd_1_and_test_pixels_the_same_scale():
    data = datasets.load(Dataset(n_train=60, n_test=20))
    train, test = standardised(data)
    assert train.dtype == test.dtype == np.float32
    assert train.mean(dtype=float) == pytest.approx(0, abs=1e-6)
    assert train.std(dtype=float) == pytest.approx(1, abs=1e-6)
    slope = (test.max() - test.min()) / np.ptp(data.test_images)
    assert slope == pytest.approx((train.max() - train.min()) / np.ptp(data.train_images), rel=1e-5)


def test_images_of_one_grey_are_refused():
    data = datasets.load(Dataset(n_train=60, n_test=20))
    flat = type(data)(data.train_images * 0 + 7, data.train_labels, data.test_images, data.test_labels, data.class_names)
    with pytest.raises(ValueError, match="every training pixel is 7"):
        standardised(flat)
