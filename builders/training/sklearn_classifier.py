"""Any scikit-learn classifier as a learning algorithm: one model after another, behind the interface of a group.

Pixels are flattened and standardised. Classifiers with `decision_function` give it as logits; others give log
probabilities; of two classes the difference is the log-odds. A class that a subset lacks gets the lowest logit, so that its
examples have a finite margin.
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
    if "random_state" in options.parameters:
        raise ValueError("random_state is set from each model's init_id: leave it out of the parameters")
    make = load_object(options.estimator)
    made = make(**options.parameters)
    if not hasattr(made, "fit") or not (hasattr(made, "predict_proba") or hasattr(made, "decision_function")):
        raise ValueError(f"{options.estimator} is no classifier: it needs fit, and predict_proba or decision_function")
    given = made.get_params() if hasattr(made, "get_params") else {}
    if pairwise := [name for name, value in given.items() if name.endswith("decision_function_shape") and value == "ovo"]:
        raise ValueError(f"{pairwise[0]} = 'ovo' scores pairs of classes, and logits are wanted of classes: use 'ovr'")
    seeded = "random_state" in given

    def new(seed: int) -> Any:
        return make(**options.parameters, **({"random_state": seed} if seeded else {}))

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
    """Logits [n, n_classes] of a fitted classifier, unseen classes at LOWEST or the lowest score, whichever is less."""
    if hasattr(model, "decision_function"):
        scores = model.decision_function(x)
        scores = np.stack([-scores, scores], 1) / 2 if scores.ndim == 1 else scores  # their difference is the log-odds
    else:
        scores = np.log(np.maximum(model.predict_proba(x), np.exp(LOWEST)))
    logits = np.repeat(np.minimum(scores.min(1, keepdims=True), LOWEST).astype(np.float32), n_classes, axis=1)
    logits[:, model.classes_] = scores
    return logits
