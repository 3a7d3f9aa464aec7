"""Run as a program: export to argv[1] one real SavedModel with five signatures."""

import sys

import tensorflow as tf


class Model(tf.Module):
    def __init__(self):
        self.weight = tf.Variable([[1.0], [2.0]])

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def score(self, x):
        return {"score": tf.matmul(x, self.weight)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None, None], tf.int32, name="ids"),
        ]
    )
    def text(self, text, ids):
        return {"shout": tf.strings.upper(text), "total": tf.reduce_sum(ids, axis=1)}

    @tf.function(
        input_signature=[tf.TensorSpec([], tf.float32, name="above"), tf.TensorSpec([], tf.float32, name="below")]
    )
    def ratio(self, above, below):
        return {"ratio": above / below}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="file")])
    def length(self, file):
        return {"length": tf.strings.length(file)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def mean(self, x):
        return {"mean": tf.reduce_mean(x)}


model = Model()
others = {"text": model.text, "ratio": model.ratio, "length": model.length, "mean": model.mean}
signatures = {"serving_default": model.score, **others}
tf.saved_model.save(model, sys.argv[1], signatures=signatures)
