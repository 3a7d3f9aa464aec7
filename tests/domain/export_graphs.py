"""Run as a program: export SavedModels whose ops stand in every position, each into a folder of its own below argv[1].

Those below bad/ may not be served. Also writes ops.json: TensorFlow's ops with the names of their texts, and with the
attribute that says how long each of their outputs is, or "" for one; and outputs.json: of each graph that may be
served, how many outputs its nodes have.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2, types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import function

V1 = tf.compat.v1
OUT = Path(sys.argv[1])
WORDS = OUT / "words.txt"
NUMBERS = tf.TensorSpec([None, 3], tf.float32, name="x")
TEXT = tf.TensorSpec([None], tf.string, name="text")
LINES = (tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER)


def serve(name, spec, answer, module=None):
    module = module or tf.Module()
    module.served = tf.function(lambda value: {"y": answer(value)}, input_signature=[spec])
    tf.saved_model.save(module, OUT / name, signatures={"serving_default": module.served})


def stack(name, *layers, shape, dtype="float32"):
    keras.Sequential([keras.layers.Input(shape, dtype=dtype), *layers]).export(OUT / name, verbose=False)


def table():
    whole = tf.lookup.TextFileInitializer(str(WORDS), *LINES)
    return tf.lookup.StaticHashTable(whole, -1)


def keras_exports():
    layers = keras.layers
    stack("lookup_list", layers.StringLookup(vocabulary=["a", "b"]), shape=(1,), dtype="string")
    stack("lookup_file", layers.StringLookup(vocabulary=str(WORDS)), shape=(1,), dtype="string")
    stack("vectorization", layers.TextVectorization(vocabulary=str(WORDS)), shape=(), dtype="string")
    stack("lstm", layers.Embedding(9, 4), layers.LSTM(3), shape=(None,), dtype="int32")
    stack("conv", layers.Conv2D(2, 3), layers.BatchNormalization(), layers.GlobalAveragePooling2D(), shape=(8, 8, 3))
    stack("bfloat16", layers.Dense(3, dtype="bfloat16"), shape=(4,))
    normal = layers.Normalization(mean=1.0, variance=2.0)
    stack("preprocessing", normal, layers.Discretization([0.0, 1.0]), shape=(2,))


def in_memory(x):
    return tf.data.Dataset.from_tensor_slices(x).cache().reduce(0.0, lambda total, row: total + row[0])


def module_exports():
    serve("cached", NUMBERS, in_memory)
    serve(
        "image",
        TEXT,
        lambda t: tf.map_fn(lambda b: tf.reduce_mean(tf.cast(tf.io.decode_image(b), "float32")), t, tf.float32),
    )
    serve("strings", TEXT, lambda t: tf.strings.regex_replace(tf.strings.lower(tf.strings.strip(t)), "[^a-z]", ""))
    serve("loop", NUMBERS, lambda x: tf.while_loop(lambda v: tf.reduce_sum(v) < 9.0, lambda v: (v + 1.0,), (x,))[0])
    serve("prints", NUMBERS, lambda x: (tf.print("served", x), tf.print("x", output_stream=sys.stdout), x)[2])
    serve("datasets", NUMBERS, lambda x: tf.data.Dataset.from_tensor_slices(x).reduce(0.0, lambda s, r: s + r[0]))
    two = tf.Module()
    two.tables = [table(), table()]
    serve("two_tables", TEXT, lambda t: two.tables[0].lookup(t) + two.tables[1].lookup(t), two)
    growing = tf.Module()
    growing.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    serve("mutable_table", TEXT, growing.table.lookup, growing)
    again = tf.saved_model.load(OUT / "two_tables")
    tf.saved_model.save(again, OUT / "saved_again", signatures=again.signatures)


def tf1(name, build, *, beside=False, main_op=None, assets=True, references=False):
    """Export as TF1 does; `beside` leaves the program's own saver in the graph too."""
    with tf.Graph().as_default() as graph, V1.Session(graph=graph) as session:
        weights = V1.get_variable("w", initializer=[[1.0], [2.0]], use_resource=not references)
        inputs, outputs = build(weights)
        if beside:
            V1.train.Saver(sharded=beside == "sharded")
        session.run(V1.global_variables_initializer())
        builder = V1.saved_model.Builder(str(OUT / name))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={"serving_default": V1.saved_model.predict_signature_def(inputs, outputs)},
            main_op=main_op() if main_op else V1.tables_initializer(),
            assets_collection=V1.get_collection(V1.GraphKeys.ASSET_FILEPATHS) if assets else None,
        )
        builder.save()


def dense(weights):
    x = V1.placeholder(tf.float32, [None, 2], name="x")
    return {"x": x}, {"y": tf.matmul(x, weights)}


def sparse(weights):
    x = V1.sparse_placeholder(tf.float32, [None, 2], name="x")
    return {"x": x}, {"y": tf.sparse.sparse_dense_matmul(x, weights)}


def worded(weights):
    text = V1.placeholder(tf.string, [None], name="text")
    return {"text": text}, {"y": table().lookup(text)}


@tf.function
def two_parts(x):
    return x + 1.0, x - 1.0


@function.Defun(tf.float32)
def two_parts_of_tf1(x):
    return x + 1.0, x - 1.0


@tf.function(input_signature=[tf.TensorSpec([2, 4]), tf.TensorSpec([2, 4])])
def less(x, y):
    return tf.reduce_sum(x) < 1.0


@tf.function(input_signature=[tf.TensorSpec([2, 4]), tf.TensorSpec([2, 4])])
def more(x, y):
    return x + 1.0, y


def many_outputs(_weights):
    """Serve outputs of nodes as they are, which TF2 never does: all that it serves are those of one call."""
    x, text = V1.placeholder(tf.float32, [2, 4], name="x"), V1.placeholder(tf.string, [None], name="text")
    kinds = {"a": tf.io.FixedLenFeature([1], tf.float32), "b": tf.io.VarLenFeature(tf.int64)}
    row, scores = tf.reshape(x, [-1]), tf.zeros([3, 1, 4])
    decoded = tf.raw_ops.CTCBeamSearchDecoder(inputs=scores, sequence_length=[3], beam_width=2, top_paths=2)
    parts = [
        *(*tf.split(x, 4, axis=1), *tf.split(x, [1, 3], axis=1), *tf.unstack(x), *tf.shape_n([x, row])),
        *(*tf.unique(row), *tf.unique_with_counts(row), *tf.math.top_k(x, 2), *tf.nn.moments(x, [0])),
        *tf.dynamic_partition(row, tf.cast(row, tf.int32), 3),
        *tf.raw_ops.Switch(data=x, pred=True),
        *tf.raw_ops.Merge(inputs=[x, x]),
        *tf.raw_ops.IdentityN(input=[x, row]),
        *decoded.log_probability.op.outputs,
        *tf.raw_ops.StatelessWhile(input=[x, x], cond=less.get_concrete_function(), body=more.get_concrete_function()),
        *(*two_parts(x), *two_parts_of_tf1(x)),
        *V1.data.make_one_shot_iterator(tf.data.Dataset.from_tensors((1, 2.0))).get_next(),
        *V1.io.parse_example(text, kinds)["b"].indices.op.outputs,
    ]
    return {"x": x, "text": text}, {str(number): part for number, part in enumerate(parts)}


def tf1_exports():
    tf1("tf1_many_outputs", many_outputs)
    tf1("tf1_saver_beside", dense, beside=True)
    tf1("tf1_sharded_beside", dense, beside="sharded")
    tf1("tf1_references", dense, references=True)
    tf1("tf1_sparse", sparse)
    tf1("tf1_table", worded)


def save(x):
    tf.raw_ops.SaveV2(prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], tensors=[x])
    return x


def read_table(path):
    handle = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    read = tf.raw_ops.InitializeTableFromTextFileV2(table_handle=handle, filename=path, key_index=-2, value_index=-1)
    with tf.control_dependencies([] if read is None else [read]):
        return tf.raw_ops.LookupTableSizeV2(table_handle=handle)


def on_disk(x):
    return tf.data.Dataset.from_tensor_slices(x).cache("/tmp/x").reduce(0.0, lambda total, row: total + row[0])


def read_when_asked(weights):
    path = tf.constant(str(WORDS))
    V1.add_to_collection(V1.GraphKeys.ASSET_FILEPATHS, path)
    return {"x": V1.placeholder(tf.float32, [], name="x")}, {"y": read_table(path)}


def bad_exports():
    serve("bad/CacheDatasetV2", NUMBERS, on_disk)
    tf1("bad/untraced_when_asked", read_when_asked)
    serve("bad/ReadFile", TEXT, lambda t: tf.map_fn(tf.io.read_file, t))
    serve("bad/WriteFile", NUMBERS, lambda x: (tf.io.write_file("/tmp/x", "x"), x)[1])
    serve("bad/MatchingFiles", TEXT, tf.io.matching_files)
    serve("bad/EagerPyFunc", NUMBERS, lambda x: tf.py_function(np.sin, [x], tf.float32))
    serve("bad/PyFunc", NUMBERS, lambda x: tf.numpy_function(np.sin, [x], tf.float32))
    serve("bad/PrintV2", NUMBERS, lambda x: (tf.print("x", output_stream="file:///tmp/x"), x)[1])
    serve("bad/TextLineDataset", TEXT, lambda t: tf.data.TextLineDataset(t).reduce(0, lambda n, _: n + 1))
    serve("bad/TFRecordDatasetV2", TEXT, lambda t: tf.data.TFRecordDataset(t).reduce(0, lambda n, _: n + 1))
    serve("bad/SaveV2", NUMBERS, save)
    serve(
        "bad/RestoreV2",
        NUMBERS,
        lambda x: (
            x + tf.raw_ops.RestoreV2(prefix="/tmp/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]
        ),
    )
    serve("bad/InitializeTableFromTextFileV2", NUMBERS, lambda x: (read_table("/etc/passwd"), x)[1])
    serve("bad/untraced_from_the_caller", TEXT, lambda t: read_table(t[0]))
    tf1("bad/untraced_tf1", worded, assets=False)
    tf1("bad/init_op_writes", dense, main_op=lambda: tf.group(tf.io.write_file("/tmp/x", "x")))


def edited(name, source, change):
    """Export `source` again with its first MetaGraph changed."""
    model = saved_model_pb2.SavedModel.FromString((OUT / source / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    (OUT / "bad" / name).mkdir(parents=True)
    (OUT / "bad" / name / "saved_model.pb").write_bytes(model.SerializeToString())


def function(meta, name):
    return next(f for f in meta.graph_def.library.function if name in f.signature.name)


def node(holder, name):
    return next(n for n in holder if n.name == name)


def unreachable(meta):
    hidden = meta.graph_def.library.function.add()
    hidden.signature.name = "hidden"
    hidden.node_def.add(name="reads", op="ReadFile", input=["path:output:0"])


def saver_in_signature(meta):
    meta.signature_def["serving_default"].outputs["y"].name = meta.saver_def.save_tensor_name


def saver_called(meta):
    caller = function(meta, "signature_wrapper").node_def.add(name="sneaks", op="PartitionedCall")
    caller.attr["f"].func.name = function(meta, "traced_save").signature.name


def saver_called_in_an_attribute(meta):
    call = function(meta, "signature_wrapper").node_def[0]
    call.attr["extra"].func.name = "other"
    call.attr["extra"].func.attr["g"].list.func.add(name=function(meta, "traced_save").signature.name)


def saver_loaded(meta):
    meta.object_graph_def.concrete_functions[function(meta, "traced_save").signature.name].SetInParent()


def saver_replaces(meta):
    function(meta, "traced_save").attr["api_implements"].s = b"x"


def saver_is_a_gradient(meta):
    name = function(meta, "traced_save").signature.name
    meta.graph_def.library.gradient.add(function_name="other", gradient_func=name)


def saver_before_another(meta):
    saves = meta.saver_def.save_tensor_name.split(":")[0]
    meta.graph_def.node.add(name="after", op="NoOp", input=[f"^{saves}"])


def saver_saves_while_restoring(meta):
    body = function(meta, "traced_restore")
    body.node_def.add(name="writes", op="SaveV2", input=["file_prefix"])


def restores_another_file(meta):
    body = function(meta, "traced_restore")
    body.node_def.add(name="path", op="Const")
    node(body.node_def, "RestoreV2").input[0] = "path:output:0"


def one_node_saves_and_restores(meta):
    meta.saver_def.restore_op_name = meta.saver_def.save_tensor_name.split(":")[0]


def saver_is_mentioned(meta):
    function(meta, "signature_wrapper").attr["like"].func.name = function(meta, "traced_save").signature.name


def saver_is_collected(meta):
    saves = meta.saver_def.save_tensor_name
    meta.collection_def["anything"].node_list.value.append(saves)


def restores_again(meta):
    again = meta.graph_def.node.add(name="again", op="PartitionedCall", input=["saver_filename"])
    again.attr["f"].func.name = function(meta, "traced_restore").signature.name


def initializer_is_a_gradient(meta):
    name = function(meta, "_initializer").signature.name
    meta.graph_def.library.gradient.add(function_name="other", gradient_func=name)


def initializer_is_a_branch(meta):
    call = next(n for n in meta.graph_def.node if "_initializer" in n.attr["f"].func.name)
    call.op = "If"


def initializer_is_called_with_another_path(meta):
    body = function(meta, "signature_wrapper")
    body.node_def.add(name="path", op="Const")
    call = body.node_def.add(name="sneaks", op="PartitionedCall", input=["path:output:0", "path:output:0"])
    call.attr["f"].func.name = function(meta, "_initializer").signature.name


def initializer_is_not_called(meta):
    idle = meta.graph_def.library.function.add()
    idle.CopyFrom(function(meta, "_initializer"))
    idle.signature.name = "idle"


def variable_is_made_in_a_function(meta):
    handle = next(n for n in meta.graph_def.node if n.op == "VarHandleOp")
    function(meta, "signature_wrapper").node_def.add().CopyFrom(handle)


def variable_is_never_assigned(meta):
    kept = [n for n in meta.graph_def.node if n.op != "AssignVariableOp"]
    del meta.graph_def.node[:]
    meta.graph_def.node.extend(kept)


def variable_is_used_otherwise(meta):
    for one in meta.graph_def.node:
        one.op = "AssignAddVariableOp" if one.op == "AssignVariableOp" else one.op


def variable_holds_another_path(meta):
    handle = next(n.name for n in meta.graph_def.node if n.op == "VarHandleOp")
    meta.graph_def.node.add(name="path", op="Const")
    meta.graph_def.node.add(name="sneaks", op="AssignVariableOp", input=[handle, "path"])


def variable_by_another_name(meta):
    handle = next(n for n in meta.graph_def.node if n.op == "VarHandleOp")
    meta.graph_def.node.add().CopyFrom(handle)
    meta.graph_def.node[-1].name = "sneaks"


def asset_is_fed(meta):
    meta.signature_def["serving_default"].inputs["path"].name = meta.asset_file_def[0].tensor_info.name


def asset_is_another_object(meta):
    for item in meta.object_graph_def.nodes:
        if item.WhichOneof("kind") == "asset":
            item.constant.operation = "Const"


def tf1_saves_while_restoring(meta):
    node(meta.graph_def.node, "save/restore_all").input.append("^save/SaveV2")


def tf1_restores_another_file(meta):
    node(meta.graph_def.node, "save/RestoreV2").input[0] = "save/num_shards"


def tf1_saver_is_used(meta):
    meta.graph_def.node.add(name="after", op="Identity", input=["save/SaveV2"])


def tf1_writes_in_the_saver(meta):
    meta.graph_def.node.add(name="save/also", op="WriteFile", input=["save/Const", "save/Const"])


def ops():
    known = op_def_pb2.OpList()
    known.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    texts = {
        op.name: [a.name for a in op.input_arg if a.type == types_pb2.DT_STRING]
        + [a.name for a in op.attr if "string" in a.type]
        for op in known.op
    }
    outputs = {op.name: [a.number_attr or a.type_list_attr for a in op.output_arg] for op in known.op}
    (OUT / "ops.json").write_text(json.dumps({"version": tf.__version__, "ops": texts, "outputs": outputs}))


def outputs():
    """Write how many outputs TensorFlow gives the nodes of each graph."""
    counts = {}
    for file in OUT.glob("*/saved_model.pb"):
        model, graph = saved_model_pb2.SavedModel.FromString(file.read_bytes()), tf.Graph()
        with graph.as_default():
            tf.graph_util.import_graph_def(model.meta_graphs[0].graph_def, name="")
        counts[file.parent.name] = {op.name: len(op.outputs) for op in graph.get_operations()}
    (OUT / "outputs.json").write_text(json.dumps(counts))


WORDS.write_text("one\ntwo\n")
ops()
keras_exports()
module_exports()
tf1_exports()
outputs()
bad_exports()
edited("unreachable", "strings", unreachable)
for change in (
    saver_in_signature,
    saver_called,
    saver_called_in_an_attribute,
    saver_loaded,
    saver_replaces,
    saver_is_a_gradient,
    saver_before_another,
    saver_saves_while_restoring,
    restores_another_file,
    one_node_saves_and_restores,
    saver_is_mentioned,
    saver_is_collected,
    restores_again,
):
    edited(change.__name__, "conv", change)
for change in (
    variable_holds_another_path,
    variable_by_another_name,
    variable_is_made_in_a_function,
    variable_is_never_assigned,
    variable_is_used_otherwise,
    asset_is_fed,
    asset_is_another_object,
    initializer_is_a_gradient,
    initializer_is_a_branch,
    initializer_is_called_with_another_path,
    initializer_is_not_called,
):
    edited(f"untraced_{change.__name__}", "two_tables", change)
for change in (tf1_saves_while_restoring, tf1_restores_another_file, tf1_saver_is_used, tf1_writes_in_the_saver):
    edited(change.__name__, "tf1_references", change)
