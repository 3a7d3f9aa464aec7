"""Run as a program: load each SavedModel that standard input names, call it with one row, and say what it answered."""

import json
import sys

import tensorflow as tf


def answered(path, row):
    called = tf.saved_model.load(path).signatures["serving_default"]
    specs = called.structured_input_signature[1]
    return sorted(called(**{name: tf.constant([row[name]], specs[name].dtype) for name in row}))


print(json.dumps({path: answered(path, how["row"]) for path, how in json.load(sys.stdin).items()}))
