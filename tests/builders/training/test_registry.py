"""Algorithms by name: a user's own from a file, options that reach it, and refusals in one line."""

import sys

import numpy as np
import pytest

from builders import datasets
from builders.study import Dataset
from builders.training.interface import Group
from builders.training.registry import MODULES, Algorithm
from lake.errors import UsageError
from lake.partition import Partition

OWN = """
    import numpy as np
    from builders.training.interface import Logits

    def prepare(data, depth=1, widths=()):
        def train(group):
            sizes = [len(data.train_labels), len(data.test_labels)]
            logits = [np.zeros((group.n_models, n, data.n_classes), np.float32) for n in sizes]
            for values, labels in zip(logits, (data.train_labels, data.test_labels)):
                values[:, np.arange(len(labels)), labels] = depth + sum(widths) + group.order_ids[:, None] / 8
            return Logits(*logits)
        return train

    def refuses(data):
        raise ValueError("images are too small")

    def nothing(data):
        return None

    class Kind:
        def __init__(self, data):
            pass

    number = 7
"""


@pytest.fixture(scope="module")
def data():
    return datasets.load(Dataset(n_train=60, n_test=20))


def test_an_algorithm_of_ones_own_is_trained_with_its_options(own, lake, study_of, build_missing):
    name = own(OWN)
    chosen = study_of(algorithm={"name": f"{name}:prepare", "depth": 2, "widths": [3, 4]})
    report = build_missing(lake, chosen)
    assert not report.failures
    rows = lake.read(Partition("margins", "small", "fit", 1))
    expected = 9 + rows["model_id"].to_numpy() / 8
    assert np.array_equal(np.array(rows["test_margin"].to_pylist()), np.repeat(expected[:, None], 20, axis=1))
    facts = lake.facts(lake.present("margins"))[Partition("margins", "small", "fit", 1)]
    assert facts.identity["algorithm"] == {"name": f"{name}:prepare", "depth": 2, "widths": [3, 4]}


def test_options_of_ones_own_change_the_fingerprint(study_of):
    prints = {study_of(algorithm={"name": "my:own", "depth": d}).fingerprint("d") for d in (1, 2, "2", None)}
    assert len(prints) == 4


def test_any_name_but_that_of_the_algorithm_may_be_an_option(study_of):
    chosen = study_of(algorithm={"name": "my:own", "options": 3, "json": [1], "copy": True})
    assert chosen.algorithm.options.model_dump() == {"options": 3, "json": (1,), "copy": True}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_option_without_a_stable_form_is_refused(study_of, value):
    with pytest.raises(UsageError, match="depth"):
        study_of(algorithm={"name": "my:own", "depth": value})


@pytest.mark.parametrize(
    ("attribute", "options", "wanted"),
    [
        ("prepare", {"dept": 2}, r"algorithm own\d+:prepare: .*unexpected keyword argument 'dept'"),
        ("refuses", {}, r"algorithm own\d+:refuses: images are too small"),
        ("nothing", {}, r"algorithm own\d+:nothing returned a NoneType; it must return a function from Group to Logits"),
        ("Kind", {}, r"algorithm own\d+:Kind returned a Kind; it must return a function"),
        ("number", {}, r"'own\d+:number' is a int, not callable"),
        ("missing", {}, r"cannot load 'own\d+:missing' .*has no attribute 'missing'"),
    ],
)
def test_what_is_no_algorithm_is_refused_in_one_line(own, data, attribute, options, wanted):
    chosen = Algorithm.model_validate({"name": f"{own(OWN)}:{attribute}", **options})
    with pytest.raises(UsageError, match=wanted) as error:
        chosen.prepare(data)
    assert "\n" not in str(error.value)


def test_a_recipe_that_does_not_fit_the_images_is_refused(data):
    with pytest.raises(UsageError, match=r"^algorithm patchnet: patch 3, stride 2, padding 0 do not tile 8 pixels"):
        Algorithm.model_validate({"name": "patchnet", "patch": 3, "padding": 0}).prepare(data)


@pytest.mark.parametrize(
    "name", sorted(MODULES.keys() - {"resnet9", "resnet9-fast", "module"})
)  # which take no images of 8 pixels
def test_every_shipped_algorithm_trains(name, data):
    train = Algorithm.model_validate({"name": name}).prepare(data)
    masks = np.random.default_rng(0).random((2, 60)) < 0.7
    found = train(Group(0, "fit", masks, np.arange(2), np.arange(2)))
    assert found.train.shape == (2, 60, 10)
    assert found.test.shape == (2, 20, 10)
    assert found.train.dtype == np.float32
    assert np.isfinite(found.test).all()


def test_the_current_folder_comes_first_once(own, monkeypatch, tmp_path, data):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    for _ in range(2):
        Algorithm.model_validate({"name": f"{own(OWN)}:prepare"}).prepare(data)
    assert sys.path.count(str(tmp_path)) == 1
