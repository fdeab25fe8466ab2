"""Embeddings: the last hidden layer of a PatchNet, checked by its own logits; logits where an algorithm shows no layer."""

import numpy as np
import pytest

from builders import datasets
from builders.study import Dataset
from builders.training import patchnet
from builders.training.embedding import embed
from builders.training.interface import Group, standardised
from builders.training.registry import Algorithm
from builders.training.simd import LANES

DATA = datasets.load(Dataset(n_train=60, n_test=20))
IDS = np.arange(3)
GROUP = Group(0, "removal", np.ones((3, 60), bool), IDS, IDS)


@pytest.mark.parametrize("widths", [(4,), (4, 8), ()])
def test_the_last_layer_of_the_network_makes_its_logits_from_the_embedding(widths):
    algorithm = Algorithm.model_validate({"name": "patchnet", "widths": widths, "epochs": 2})
    train, test = embed(algorithm, DATA, GROUP)
    net = patchnet.network(algorithm.options, 8, 1, 10)
    assert train.shape == (3, 60, net.fans[-1])
    assert test.shape == (3, 20, net.fans[-1])
    tables = [patchnet.patches(images, algorithm.options, net) for images in standardised(DATA)]
    part = GROUP.take(np.minimum(np.arange(LANES), 2))
    weights = patchnet.trained(algorithm.options, net, tables[0], DATA.train_labels, part).reshape(-1, LANES)[:, :3]
    matrix, bias = weights[-10 * (net.fans[-1] + 1) : -10].reshape(-1, 10, 3), weights[-10:]
    logits = algorithm.prepare(DATA)(GROUP)
    for found, wanted in ((train, logits.train), (test, logits.test)):
        assert np.einsum("mnf,fcm->mnc", found, matrix) + bias.T[:, None] == pytest.approx(wanted, abs=1e-3)


def test_an_algorithm_without_a_layer_gives_its_logits():
    algorithm = Algorithm.model_validate({"name": "logistic"})
    train, test = embed(algorithm, DATA, GROUP)
    logits = algorithm.prepare(DATA)(GROUP)
    assert np.array_equal(train, logits.train)
    assert np.array_equal(test, logits.test)
