"""The handwritten digits that all three models learn and are asked about: 8x8 pixels, 0 to 16, ten classes.

They come with scikit-learn, so nothing is downloaded. The held-out images are the same for every model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HELD_OUT = 500  # of 1797
CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Images as rows of 64 numbers (float32, 0 to 16) and the digit that each one shows."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def load() -> tuple[Digits, Digits]:
    """Return the images to learn from and the held-out ones."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    found = load_digits()
    order = np.random.default_rng(7).permutation(len(found.target))
    images, labels = found.data[order].astype("float32"), found.target[order].astype("int64")
    return Digits(images[HELD_OUT:], labels[HELD_OUT:]), Digits(images[:HELD_OUT], labels[:HELD_OUT])


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the share of rows whose likeliest digit is the right one; a row with a NaN is wrong."""
    whole = np.isfinite(probabilities).all(axis=1)
    return float(np.mean(whole & (np.nan_to_num(probabilities).argmax(axis=1) == labels)))


def likeliest(probabilities: Sequence[float | None]) -> int | None:
    """Return the digit that a prediction's ten probabilities name; None when one of them is no number."""
    numbers = [p for p in probabilities if p is not None]
    return None if len(numbers) < len(probabilities) else int(np.argmax(numbers))
