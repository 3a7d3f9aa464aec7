"""Train v2, a Keras network that has seen all images, and export it as a TensorFlow SavedModel.

Usage: python train_keras.py OUT_DIR        writes OUT_DIR/saved_model.pb, OUT_DIR/variables/...
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import digits
import keras
from keras import layers


def build() -> keras.Model:
    """Pixels (N, 64), 0 to 16, in; ten probabilities a row out. The scaling is part of the model."""
    return keras.Sequential(
        [
            keras.Input((64,), name="pixels"),
            layers.Reshape((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )


def fit() -> tuple[keras.Model, float]:
    """Return the network and its accuracy on the held-out images."""
    keras.utils.set_random_seed(1)
    learn, held_out = digits.load()
    model = build()
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    model.fit(learn.images, learn.labels, batch_size=64, epochs=12, verbose=0)
    return model, digits.accuracy(model.predict(held_out.images, verbose=0), held_out.labels)


if __name__ == "__main__":
    network, share = fit()
    network.export(sys.argv[1], verbose=False)
    print(f"{Path(sys.argv[1])}: {share:.1%} of the held-out digits right")
