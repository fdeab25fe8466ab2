"""Guesses of what work takes: near what was measured, and growing with sizes as the work does."""

import pytest

from builders import prior, study
from builders.training.registry import MODULES, Algorithm


def test_every_shipped_algorithm_has_a_prior_that_knows_subset_width_and_device(monkeypatch):
    assert MODULES.keys() == prior.VISIT_SECONDS.keys() | prior.MODEL_SECONDS.keys()
    found = {}
    for card in (False, True):
        monkeypatch.setattr(prior.device, "cuda", lambda card=card: card)
        paper, narrow = (Algorithm.model_validate({"name": "resnet9", "width": width}) for width in (64, 32))
        found[card] = prior.model(paper, 25_000)
        assert prior.model(paper, 12_500) == pytest.approx(found[card] / 2)
        assert prior.model(narrow, 25_000) == pytest.approx(found[card] / 4)
    assert found[True] == pytest.approx(3.4, abs=0.1)  # seconds, as measured on one H100
    assert found[False] > 3_600  # nobody trains it on a core


@pytest.mark.parametrize(
    ("estimators", "n_train", "n_targets", "seconds"),  # as measured on two cores with 5,000 models
    [
        (("lasso",), 1_000, 400, 0.4),
        (("lasso",), 4_000, 400, 4.6),
        (("lasso",), 10_000, 400, 23.8),
        (("lasso",), 50_000, 100, 156.2),
        (("ridge",), 4_000, 400, 14.3),
        (("ridge",), 10_000, 400, 207.2),
        (study.ESTIMATORS, 1_000, 400, 1.1),
        (study.ESTIMATORS, 10_000, 400, 261.1),
    ],
)
def test_fits_are_guessed_near_what_was_measured(estimators, n_train, n_targets, seconds, monkeypatch):
    monkeypatch.setattr(prior.device, "cuda", lambda: False)
    assert seconds / 2 < prior.fits(estimators, n_train, n_targets) < seconds * 2


def test_a_card_is_guessed_to_fit_as_the_one_that_was_measured(monkeypatch):
    monkeypatch.setattr(prior.device, "cuda", lambda: True)
    assert prior.fits(("lasso",), 50_000, 10_000) == pytest.approx(166, rel=0.1)  # seconds of an H100, 5,000 models


def test_images_are_guessed_by_number_as_measured_on_cifar10():
    assert prior.examples(50_000, 10_000) == pytest.approx(9.5, rel=0.5)
    assert prior.neighbours(50_000, 10_000) == pytest.approx(55.6, rel=0.5)
