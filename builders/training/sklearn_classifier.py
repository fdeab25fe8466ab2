"""Any scikit-learn classifier as a learning algorithm: one model after another, behind the interface of a group.

Pixels are flattened and standardised. Classifiers with `decision_function` give it as logits; others give log
probabilities. A class that a subset lacks gets the lowest logit, so that its examples have a finite margin.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders import counter
from builders.training.interface import Data, Group, Logits, Trainer, standardised
from builders.training.registry import Sklearn, load_object

LOWEST = -30.0
"""Logit of a class that the model has never seen, and the floor of log probabilities."""


def prepare(options: Sklearn, data: Data) -> Trainer:
    """A trainer of `options.estimator`; ValueError when it is no classifier or refuses its parameters."""
    make = load_object(options.estimator)
    seeded = "random_state" in make().get_params()

    def new(seed: int) -> Any:
        return make(**options.parameters, **({"random_state": seed} if seeded else {}))

    if not hasattr(new(0), "fit") or not (hasattr(new(0), "predict_proba") or hasattr(new(0), "decision_function")):
        raise ValueError(f"{options.estimator} is no classifier: it needs fit, and predict_proba or decision_function")
    return trainer_of(new, data)


def trainer_of(new: Any, data: Data) -> Trainer:
    """A trainer that fits `new(seed)` on each model's subset."""
    train, test = (images.reshape(len(images), -1) for images in standardised(data))

    def fit(group: Group) -> Logits:
        logits = Logits(*(np.empty((group.n_models, len(x), data.n_classes), np.float32) for x in (train, test)))
        seeds = counter.words(group.seed, "init", group.init_ids) >> np.uint64(33)
        for k in range(group.n_models):
            rows = np.flatnonzero(group.masks[k])
            model = new(int(seeds[k])).fit(train[rows], data.train_labels[rows])
            logits.train[k], logits.test[k] = (outputs(model, x, data.n_classes) for x in (train, test))
        return logits

    return fit


def outputs(model: Any, x: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
    """Logits [n, n_classes] of a fitted classifier, unseen classes at LOWEST."""
    if hasattr(model, "decision_function"):
        scores = model.decision_function(x)
        scores = np.stack([-scores, scores], 1) if scores.ndim == 1 else scores
    else:
        scores = np.log(np.maximum(model.predict_proba(x), np.exp(LOWEST)))
    logits = np.full((len(x), n_classes), LOWEST, np.float32)
    logits[:, model.classes_] = scores
    return logits
