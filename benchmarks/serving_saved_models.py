"""Writes the MLP's weights as a SavedModel: a process of its own, which loads TensorFlow.

`python benchmarks/serving_saved_models.py FOLDER`, where serving_build.py left `mlp.npz`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf


class Mlp(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """The layers that torch.nn.Linear has: weights are out x in."""

    def __init__(self, parameters: list[Any]) -> None:
        super().__init__()
        self.weights = [tf.Variable(w.T) for w in parameters[::2]]
        self.biases = [tf.Variable(b) for b in parameters[1::2]]

    @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32)])  # type: ignore[untyped-decorator]
    def serve(self, x: Any) -> Any:
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = tf.nn.relu(x @ w + b)
        return x @ self.weights[-1] + self.biases[-1]


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "mlp.npz") as kept:
        module = Mlp([kept[name] for name in kept.files])
    tf.saved_model.save(module, str(folder / "mlp.saved_model"), signatures=module.serve)


if __name__ == "__main__":
    main()
