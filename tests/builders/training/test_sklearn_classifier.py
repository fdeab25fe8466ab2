"""Scikit-learn classifiers as learning algorithms: their own numbers, seeded by init_id, finite when a class is missing."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

from builders import datasets
from builders.margins import margin
from builders.study import Dataset
from builders.training import interface
from builders.training.interface import Data, Group
from builders.training.registry import Algorithm
from builders.training.sklearn_classifier import LOWEST, outputs
from lake.errors import UsageError
from lake.partition import Partition

TREE = {"estimator": "sklearn.tree:DecisionTreeClassifier", "parameters": {"max_features": 4, "max_depth": 8}}
BAYES = {"estimator": "sklearn.naive_bayes:GaussianNB"}


@pytest.fixture(scope="module")
def data() -> Data:
    return datasets.load(Dataset(n_train=60, n_test=20))


def group(masks: np.ndarray, init_ids: list[int]) -> Group:
    return Group(0, "fit", masks, np.array(init_ids), np.arange(len(masks)))


def algorithm(**options) -> Algorithm:
    return Algorithm.model_validate({"name": "sklearn", **options})


def test_logits_are_the_log_probabilities_of_the_classifier(data):
    masks = np.random.default_rng(0).random((2, 60)) < 0.7
    train, test = (x.reshape(len(x), -1) for x in interface.standardised(data))
    found = algorithm(**BAYES, parameters={"var_smoothing": 0.5}).prepare(data)(group(masks, [0, 0]))
    for k in range(2):
        model = GaussianNB(var_smoothing=0.5).fit(train[masks[k]], data.train_labels[masks[k]])
        expected = np.full((20, 10), LOWEST)
        expected[:, model.classes_] = np.maximum(model.predict_log_proba(test), LOWEST)
        assert found.test[k] == pytest.approx(expected, abs=1e-4)
        assert np.isfinite(found.train[k]).all()


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [("sklearn.svm:SVC", {"decision_function_shape": "ovo"}), ("sklearn.svm:NuSVC", {"decision_function_shape": "ovo"})],
)
def test_scores_of_pairs_of_classes_are_not_taken_for_logits(data, estimator, parameters):
    with pytest.raises(UsageError, match="decision_function_shape = 'ovo' scores pairs of classes"):
        algorithm(estimator=estimator, parameters=parameters).prepare(data)


def test_the_initialisation_seeds_the_classifier_and_nothing_else_does(data):
    masks = np.repeat(np.random.default_rng(0).random((1, 60)) < 0.5, 4, axis=0)
    train = algorithm(**TREE).prepare(data)
    found = train(group(masks, [3, 3, 7, 8])).test
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert not np.array_equal(found[2], found[3])
    assert np.array_equal(train(group(masks[:1], [7])).test[0], found[2])


def test_a_class_that_a_subset_lacks_has_the_lowest_logit_and_finite_margins(data):
    masks = np.stack([data.train_labels != 3, np.isin(data.train_labels, [1, 7]), data.train_labels < 9])
    for options in (BAYES, {"estimator": "sklearn.svm:LinearSVC"}, {"estimator": "sklearn.linear_model:SGDClassifier"}):
        found = algorithm(**options).prepare(data)(group(masks, [0, 1, 2]))
        for k, seen in enumerate(masks):
            lacking = sorted(set(range(10)) - set(data.train_labels[seen]))
            assert (found.test[k][:, lacking] == found.test[k].min(1, keepdims=True)).all()
            assert (found.test[k][:, lacking] <= LOWEST).all()
        for kind in ("max", "logsumexp"):
            assert np.isfinite(margin(found.test, data.test_labels, kind)).all()


def test_scores_below_the_lowest_logit_do_not_raise_a_class_that_was_never_seen():
    x = np.array([[1000.0], [-1000.0], [0.5]], np.float32)
    model = LinearSVC(C=100).fit(np.array([[-1.0], [0], [1]]), [0, 1, 2])
    found = outputs(model, x, 4)
    assert found[:2].min() < LOWEST
    assert (found[:, 3] == np.minimum(found[:, :3].min(1), LOWEST)).all()


def test_the_margin_of_two_classes_is_their_log_odds():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    model = LogisticRegression().fit(x, y)
    p = model.predict_proba(x)[np.arange(50), y]
    for kind in ("max", "logsumexp"):
        assert margin(outputs(model, x, 2)[None], y, kind)[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)


@pytest.mark.parametrize("options", [BAYES, TREE], ids=["bayes", "tree"])
def test_a_study_on_a_classifier_builds_to_the_end(lake, study_of, build_missing, options):
    report = build_missing(lake, study_of(algorithm={"name": "sklearn", **options}))
    assert not report.failures
    assert report.models == 64
    rows = lake.read(Partition("margins", "small", "heldout", 0))
    assert set(rows["status"].to_pylist()) == {"ok"}
    assert np.mean(rows["test_accuracy"].to_pylist()) > 0.2  # chance is 0.1


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"estimator": "sklearn.nothing:Here"}, "cannot load 'sklearn.nothing:Here'"),
        ({"estimator": "sklearn.naive_bayes:Nope"}, "cannot load 'sklearn.naive_bayes:Nope'"),
        ({"estimator": "sklearn.cluster:KMeans"}, "no classifier: it needs fit, and predict_proba or decision_function"),
        ({"estimator": "collections:OrderedDict"}, "collections:OrderedDict is no classifier"),
        ({**TREE, "parameters": {"random_state": 3}}, "random_state is set from each model's init_id"),
        ({**BAYES, "parameters": {"depth": 3}}, "algorithm sklearn: .*depth"),
    ],
)
def test_what_is_no_classifier_is_refused(data, options, wanted):
    with pytest.raises(UsageError, match=wanted) as error:
        algorithm(**options).prepare(data)
    assert "\n" not in str(error.value)
