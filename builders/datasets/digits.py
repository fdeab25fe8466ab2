"""Handwritten digits that come with scikit-learn: real images without a download."""

from typing import Any

import numpy as np

from builders import counter
from builders.training.interface import Data


def load() -> Data:
    """scikit-learn's 1,797 handwritten digits (8 x 8, 10 classes): 1,000 to train on and 797 to test on.

    The order is a fixed permutation; the 17 grey levels are spread over 0 to 255. Source: Alpaydin and Kaynak, Optical
    Recognition of Handwritten Digits, UCI (1998), as scikit-learn ships it.
    """
    from sklearn.datasets import load_digits

    raw: Any = load_digits()
    order = np.argsort(counter.words(0, "digits", np.arange(len(raw.target))))
    images = np.rint(raw.images[order] * 255 / 16).astype(np.uint8)[..., None]
    labels = raw.target[order].astype(np.int64)
    return Data(images[:1000], labels[:1000], images[1000:], labels[1000:], tuple(str(d) for d in range(10)))
