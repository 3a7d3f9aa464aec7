"""Run as a program: export small real models with TensorFlow and Keras, each into a folder of its own below argv[1]."""

import sys
from pathlib import Path

import keras
import tensorflow as tf

V1 = tf.compat.v1
OUT = Path(sys.argv[1])


def plain_keras():
    model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(8), keras.layers.Dense(10)])
    model.export(OUT / "keras", verbose=False)


class Doubling(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def double(self, x):
        return {"y": x * 2}


def without_variables():
    model = Doubling()
    tf.saved_model.save(model, OUT / "no_variables", signatures={"serving_default": model.double})


def without_serving_default():
    model = Doubling()
    tf.saved_model.save(model, OUT / "other_signature", signatures={"double": model.double})


class Vocabulary(tf.Module):
    def __init__(self, path):
        whole, line = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        table = tf.lookup.TextFileInitializer(str(path), tf.string, whole, tf.int64, line)
        self.table = tf.lookup.StaticVocabularyTable(table, 1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def look_up(self, x):
        return {"y": self.table.lookup(x)}


def with_vocabulary():
    model = Vocabulary(_words())
    tf.saved_model.save(model, OUT / "vocabulary", signatures={"serving_default": model.look_up})


def tf1(name, tags, *, variables, asset=False):
    with tf.Graph().as_default() as graph, V1.Session(graph=graph) as session:
        x = V1.placeholder(tf.float32, [None, 2], name="x")
        y = tf.matmul(x, V1.Variable([[1.0], [2.0]])) if variables else x * 2
        if asset:
            V1.add_to_collection(V1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(_words())))
        session.run(V1.global_variables_initializer())
        signature = V1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder = V1.saved_model.Builder(str(OUT / name))
        builder.add_meta_graph_and_variables(
            session,
            tags,
            signature_def_map={"serving_default": signature},
            assets_collection=V1.get_collection(V1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()


def train_and_serve():
    """Save one set of variables with two graphs, as a trainer that serves, too, does."""
    builder = V1.saved_model.Builder(str(OUT / "train_and_serve"))
    for tags in (["train"], ["serve", "gpu"]):
        with tf.Graph().as_default() as graph, V1.Session(graph=graph) as session:
            x = V1.placeholder(tf.float32, [None, 2], name="x")
            y = tf.matmul(x, V1.get_variable("w", initializer=[[1.0], [2.0]], use_resource=True))
            session.run(V1.global_variables_initializer())
            if "train" in tags:
                builder.add_meta_graph_and_variables(session, tags)
                continue
            signature = V1.saved_model.predict_signature_def({"x": x}, {"y": y})
            builder.add_meta_graph(tags, signature_def_map={"serving_default": signature})
    builder.save()


def sharded():
    """Save three variables in a shard each, as a trainer on three devices does."""
    with tf.Graph().as_default() as graph:
        total = x = V1.placeholder(tf.float32, [None, 100], name="x")
        for n in range(1, 4):
            with tf.device(f"/cpu:{n - 1}"):
                weight = V1.get_variable(f"t{n}", initializer=tf.fill([n, 100], float(n)), use_resource=True)
                total += tf.reduce_sum(weight, axis=0)
        with V1.Session(graph=graph, config=V1.ConfigProto(device_count={"CPU": 3})) as session:
            session.run(V1.global_variables_initializer())
            builder = V1.saved_model.Builder(str(OUT / "sharded"))
            builder.add_meta_graph_and_variables(
                session,
                ["serve"],
                signature_def_map={"serving_default": V1.saved_model.predict_signature_def({"x": x}, {"y": total})},
                saver=V1.train.Saver(sharded=True),
                clear_devices=True,
            )
            builder.save()


def _words():
    path = OUT / "words.txt"
    path.write_text("one\ntwo\n")
    return path


plain_keras()
without_variables()
without_serving_default()
with_vocabulary()
tf1("tf1", ["serve"], variables=True, asset=True)
tf1("tf1_no_variables", ["serve"], variables=False)
tf1("gpu_tag", ["serve", "gpu"], variables=True)
tf1("train_tag", ["train"], variables=True)
sharded()
train_and_serve()
