"""Run as a program: export SavedModels of many kinds of operations, each into a folder of its own below argv[1]."""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

OUT = Path(sys.argv[1])
keras.utils.set_random_seed(0)
TEXT = tf.TensorSpec([None], tf.string, name="text")
NUMBERS = tf.TensorSpec([None, 3], tf.float32, name="x")


def keras_export(name, *stack, shape, dtype="float32"):
    model = keras.Sequential([keras.layers.Input(shape, dtype=dtype), *stack])
    model.export(OUT / name, verbose=False)


def serving(name, spec, answer, **beside):
    """Export a module that serves `answer`; `beside` are functions that it has too, in no signature."""
    module = tf.Module()
    module.served = tf.function(lambda value: {"y": answer(value)}, input_signature=[spec])
    for other, how in beside.items():
        setattr(module, other, tf.function(how, input_signature=[spec]))
    tf.saved_model.save(module, OUT / name, signatures={"serving_default": module.served})


def sharded():
    """Export more variables than may lie in one shard, so that the exporter makes several."""
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(2)])
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=64)
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=policy)
    served = tf.function(lambda x: {"y": model(x)}, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    tf.saved_model.save(model, OUT / "many_shards", signatures={"serving_default": served}, options=options)


def several(x):
    left, right = tf.split(x, [1, 2], axis=1)
    values, where, counts = tf.unique_with_counts(x[:, 0])
    best, places = tf.math.top_k(x, 2)
    return {
        "left": left,
        "right": right,
        "values": values,
        "where": where,
        "counts": counts,
        "best": best,
        "places": places,
    }


def many_outputs():
    """Export several outputs: TF2 serves those of one call, TF1 those of the nodes themselves."""
    module = tf.Module()
    module.served = tf.function(several, input_signature=[NUMBERS])
    tf.saved_model.save(module, OUT / "many_outputs", signatures={"serving_default": module.served})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="x")
        tf.compat.v1.saved_model.simple_save(session, str(OUT / "tf1_many_outputs"), {"x": x}, several(x))


def loop(x):
    return tf.while_loop(lambda n, _: n < 3, lambda n, v: (n + 1, tf.cond(n > 1, lambda: v * 2, lambda: v)), (0, x))[1]


def save(x):
    tf.raw_ops.SaveV2(prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], tensors=[x])


def parsed(text):
    features = {"a": tf.io.FixedLenFeature([1], tf.float32, [0.0]), "b": tf.io.VarLenFeature(tf.int64)}
    found = tf.io.parse_example(text, features)
    return found["a"] + tf.cast(tf.sparse.reduce_sum(found["b"]), tf.float32)


keras_export(
    "images",
    *(keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()),
    *(keras.layers.MaxPooling2D(), keras.layers.Dropout(0.5), keras.layers.Flatten(), keras.layers.Dense(3)),
    shape=(8, 8, 1),
)
keras_export("sequences", keras.layers.LSTM(3), keras.layers.Dense(1), shape=(5, 2))
keras_export("attention", keras.layers.Embedding(9, 4), keras.layers.GRU(3), shape=(5,), dtype="int32")
words = keras.layers.TextVectorization(vocabulary=["one", "two"], output_sequence_length=4)
keras_export("text", words, keras.layers.Embedding(9, 2), keras.layers.Flatten(), shape=(), dtype="string")
serving("loops", NUMBERS, loop)
serving("examples", TEXT, parsed)
serving("base64", TEXT, lambda t: tf.map_fn(lambda b: tf.strings.length(tf.io.decode_base64(b)), t, tf.int32))
serving("randoms", NUMBERS, lambda x: x + tf.random.normal(tf.shape(x)) + tf.random.stateless_uniform([3], [1, 2]))
serving("prints", NUMBERS, lambda x: (tf.print("served", tf.shape(x)), x)[1])
sharded()
many_outputs()

serving("reads_a_file", TEXT, lambda t: tf.map_fn(tf.io.read_file, t))
serving("writes_a_file", NUMBERS, lambda x: x, hidden=lambda x: (tf.io.write_file("/tmp/x", "x"), x)[1])
serving("lists_files", TEXT, tf.io.matching_files)
serving("calls_python", NUMBERS, lambda x: tf.numpy_function(np.sin, [x], tf.float32))
serving("prints_to_a_file", NUMBERS, lambda x: (tf.print("served", output_stream="file:///tmp/x"), x)[1])
serving("saves", NUMBERS, lambda x: (save(x), x)[1])
serving("reads_lines", TEXT, lambda t: tf.data.TextLineDataset(t).reduce(tf.constant(0), lambda n, _: n + 1))
