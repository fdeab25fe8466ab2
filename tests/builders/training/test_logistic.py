"""Logistic regression: scikit-learn's solution on standardised pixels, moved by the subset alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from builders import datasets
from builders.study import Dataset
from builders.training.interface import Group, standardised
from builders.training.registry import Algorithm


def test_logits_are_those_of_scikit_learn_and_no_seed_moves_them():
    data = datasets.load(Dataset(n_train=60, n_test=20))
    train = Algorithm.model_validate({"name": "logistic", "C": 0.1, "max_iter": 300}).prepare(data)
    masks = np.repeat(np.random.default_rng(0).random((1, 60)) < 0.8, 2, axis=0)
    found = train(Group(0, "fit", masks, np.array([0, 5]), np.arange(2)))
    assert np.array_equal(found.test[0], found.test[1])
    x, x_test = (images.reshape(len(images), -1) for images in standardised(data))
    model = LogisticRegression(C=0.1, max_iter=300).fit(x[masks[0]], data.train_labels[masks[0]])
    assert found.test[0] == pytest.approx(model.decision_function(x_test), abs=1e-3)


def test_a_logistic_study_builds_to_the_end(lake, study_of, build_missing):
    report = build_missing(lake, study_of(algorithm={"name": "logistic"}, models=32, heldout_masks=2, curve=[]))
    assert not report.failures
    assert report.models == 32 + 8
