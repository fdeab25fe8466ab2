"""Multinomial logistic regression (scikit-learn) as a recipe: convex, so that only the subset moves a margin."""

from builders.training.interface import Data, Trainer
from builders.training.registry import Logistic
from builders.training.sklearn_classifier import trainer_of


def prepare(options: Logistic, data: Data) -> Trainer:
    """A trainer of logistic regressions on standardised pixels."""
    from sklearn.linear_model import LogisticRegression

    return trainer_of(lambda seed: LogisticRegression(C=options.C, max_iter=options.max_iter), data)
