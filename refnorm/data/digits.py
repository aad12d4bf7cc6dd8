"""scikit-learn's digits: 1797 images of 8 x 8 pixels, ten classes; the data of every trained network here."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np


class Digits(NamedTuple):
    """images (N, 1, 8, 8) in 0..1, labels (N,) in 0..9; the split is by a fixed permutation."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The images as rows, (N, 64), for dense networks."""
        return self.images.reshape(len(self.images), -1)

    @property
    def test_rows(self) -> np.ndarray:
        return self.test_images.reshape(len(self.test_images), -1)


@cache
def load_digits(test: int = 360, centred: bool = False) -> Digits:
    """The digits, `test` of them set apart.  centred: each pixel minus its training mean, all divided by one deviation.

    The arrays are shared and read-only.  Raises ImportError where scikit-learn, which carries the data, is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise ImportError('the digits come with scikit-learn: pip install "refnorm[plots]"') from error
    raw = load()
    order = np.random.default_rng(0).permutation(len(raw.target))
    images, labels = raw.images[order, None] / 16.0, raw.target[order]
    images, held = images[test:], images[:test]
    if centred:
        mean = images.mean(axis=0)
        deviation = (images - mean).std()
        images, held = (images - mean) / deviation, (held - mean) / deviation
    digits = Digits(images, labels[test:], held, labels[:test])
    for array in digits:
        array.flags.writeable = False
    return digits
