"""Ops are judged by where they stand: what reads, writes or calls back is found wherever it is, and named."""

import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

from chalicelib.domain.findings import Verdict
from chalicelib.domain.formats import saved_model_pb
from chalicelib.domain.formats.graph_op_names import OPS, OUTPUTS, TENSORFLOW
from chalicelib.domain.formats.graph_pb import Graph, Room, read_graph
from chalicelib.domain.formats.guarded_ops import BY_TEXT, FORBIDDEN, FREE, TABLES
from chalicelib.domain.protobuf import Malformed, Wire
from tests.conftest import _kept
from tests.domain.uploads import codes, folder, judged
from tests.validation.byhand import (
    X,
    Y,
    function,
    message,
    meta_graph,
    node,
    number,
    pair,
    saved_model,
    signature,
    tensor_info,
    varint,
)

SCRIPT = Path(__file__).with_name("export_graphs.py")
GOOD = [
    "lookup_list",
    "lookup_file",
    "vectorization",
    "lstm",
    "conv",
    "bfloat16",
    "preprocessing",
    "image",
    "strings",
    "loop",
    "prints",
    "datasets",
    "cached",
    "two_tables",
    "mutable_table",
    "saved_again",
    "tf1_many_outputs",
    "tf1_saver_beside",
    "tf1_sharded_beside",
    "tf1_references",
    "tf1_sparse",
    "tf1_table",
]
CALLED = [
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "EagerPyFunc",
    "PyFunc",
    "PrintV2",
    "TextLineDataset",
    "SaveV2",
    "RestoreV2",
]
MISPLACED = {
    "CacheDatasetV2": "CacheDatasetV2",
    "TFRecordDatasetV2": "TFRecordDataset",  # the node's name
    "init_op_writes": "WriteFile",
    "unreachable": "reads",
    "saver_in_signature": "SaveV2",
    "saver_called": "SaveV2",
    "saver_called_in_an_attribute": "SaveV2",
    "saver_loaded": "SaveV2",
    "saver_replaces": "SaveV2",
    "saver_is_a_gradient": "SaveV2",
    "saver_before_another": "SaveV2",
    "saver_saves_while_restoring": "writes",
    "restores_another_file": "RestoreV2",
    "one_node_saves_and_restores": "SaveV2",
    "saver_is_mentioned": "SaveV2",
    "saver_is_collected": "SaveV2",
    "restores_again": "RestoreV2",
    "tf1_saves_while_restoring": "save/SaveV2",
    "tf1_restores_another_file": "save/RestoreV2",
    "tf1_saver_is_used": "save/SaveV2",
    "tf1_writes_in_the_saver": "save/also",
}
UNTRACED = [
    "InitializeTableFromTextFileV2",
    "untraced_from_the_caller",
    "untraced_tf1",
    "untraced_when_asked",
    "untraced_variable_holds_another_path",
    "untraced_variable_by_another_name",
    "untraced_variable_is_made_in_a_function",
    "untraced_variable_is_never_assigned",
    "untraced_variable_is_used_otherwise",
    "untraced_initializer_is_a_gradient",
    "untraced_initializer_is_a_branch",
    "untraced_initializer_is_called_with_another_path",
    "untraced_initializer_is_not_called",
    "untraced_asset_is_fed",
    "untraced_asset_is_another_object",
]
REACHES_OUT = re.compile(
    r"file|path|(^|_)dir(?!ection)|address|uri|url|ckpt|checkpoint|token|memory_region|data_source"
)


@pytest.fixture(scope="session")
def graphs(request):
    """A folder of the SavedModels that export_graphs.py makes."""

    def build(place):
        env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([sys.executable, SCRIPT, place], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]

    return _kept(request, "graphs", SCRIPT.read_text() + version("tensorflow") + version("keras"), build)


def by_hand(*functions, nodes=(X, Y), more=()):
    return judged({"saved_model.pb": saved_model(meta_graph(*more, nodes=nodes, functions=functions))})


@pytest.mark.parametrize("name", GOOD)
def test_a_real_export_of_every_kind_is_accepted(graphs, name):
    report = judged(folder(graphs / name))
    assert (report.verdict, report.findings) == (Verdict.ACCEPT, ())


@pytest.mark.parametrize(("name", "named"), [*((n, n) for n in CALLED), *MISPLACED.items()])
def test_an_op_that_reaches_out_is_rejected_and_its_node_is_named(graphs, name, named):
    report = judged(folder(graphs / "bad" / name))
    assert report.verdict is Verdict.REJECT
    assert set(codes(report)) == {"forbidden_op"}
    assert any(f.where.endswith(f"{named}'") for f in report.findings), report.findings


@pytest.mark.parametrize("name", UNTRACED)
def test_a_table_is_read_from_an_asset_or_the_model_is_rejected(graphs, name):
    report = judged(folder(graphs / "bad" / name))
    assert report.verdict is Verdict.REJECT
    assert set(codes(report)) == {"untraced_file"}
    assert "InitializeTableFromTextFileV2" in report.findings[0].message


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a//b", "a\\b", "a\0b", "", "n" * 256, "a/" * 30 + "b"])
def test_an_asset_is_a_file_below_its_folder(name):
    report = by_hand(more=(message(6, message(2, name)),))
    assert codes(report) == ["illegal_path"]
    assert report.missing == ()


def test_an_asset_that_is_not_there_is_awaited(graphs):
    files = folder(graphs / "lookup_file")
    gone = {path: body for path, body in files.items() if path != "assets/words.txt"}
    report = judged(gone)
    assert (report.verdict, report.missing) == (Verdict.INCOMPLETE, ("assets/words.txt",))


@pytest.mark.parametrize("op", sorted(FORBIDDEN.keys() - TABLES.keys()))
def test_a_forbidden_op_is_found_in_a_function_that_nothing_calls(op):
    report = by_hand(function("hidden", node("culprit", op)))
    assert [(f.code, f.where) for f in report.findings] == [
        ("forbidden_op", "saved_model.pb: function 'hidden': node 'culprit'")
    ]
    assert op in report.findings[0].message


@pytest.mark.parametrize("op", sorted(TABLES))
def test_a_table_of_a_function_that_nothing_calls_is_untraced(op):
    assert codes(by_hand(function("hidden", node("culprit", op, "a", "b")))) == ["untraced_file"]


@pytest.mark.parametrize(
    ("op", "attribute", "text", "forbidden"),
    [
        ("PrintV2", "output_stream", "file:///tmp/x", True),
        ("PrintV2", "output_stream", "file://" + "x" * 5000, True),
        ("PrintV2", "output_stream", "stderr", False),
        ("PrintV2", "output_stream", "log(info)", False),
        ("DecodeProtoV2", "descriptor_source", "/etc/passwd", True),
        ("DecodeProtoV2", "descriptor_source", "bytes://x", False),
        ("EncodeProto", "descriptor_source", "local://", False),
        ("FixedUnigramCandidateSampler", "vocab_file", "/etc/passwd", True),
        ("FixedUnigramCandidateSampler", "vocab_file", "", False),
    ],
)
def test_some_ops_are_forbidden_by_what_an_attribute_says(op, attribute, text, forbidden):
    report = by_hand(nodes=(X, Y, node("n", op, attrs={attribute: message(2, text)})))
    assert codes(report) == ["forbidden_op"] * forbidden
    assert codes(by_hand(nodes=(X, Y, node("n", op)))) == []


def text_tensor(text):
    return message(8, number(1, 7), message(2), message(8, text))


@pytest.mark.parametrize(
    ("constant", "accepted"),
    [
        (text_tensor(""), True),
        (text_tensor("/tmp/x"), False),
        (text_tensor("/tmp/" + "x" * 99), False),
        (text_tensor("") + text_tensor("/tmp/x"), False),
        (text_tensor("") + text_tensor("/tmp/" + "x" * 99), False),
        (text_tensor("/tmp/x") + text_tensor(""), False),
        (message(8, number(1, 7), message(8, ""), message(4, "/tmp/x")), False),
    ],
)
def test_a_cache_is_kept_in_memory_or_rejected(constant, accepted):
    name, cache = node("name", "Const", attrs={"value": constant}), node("cache", "CacheDatasetV2", "x", "name")
    assert (codes(by_hand(nodes=(X, Y, name, cache))) == []) is accepted
    assert (codes(by_hand(function("f", name, cache))) == []) is accepted


def test_an_op_that_tensorflow_does_not_have_is_rejected_and_named():
    report = by_hand(function("f", node("pieces", "SentencepieceOp")))
    assert codes(report) == ["unknown_op"]
    assert "SentencepieceOp" in report.findings[0].message
    assert "custom ops" in report.findings[0].fix


def test_a_function_that_is_called_by_its_name_is_no_unknown_op():
    assert by_hand(function("mine", node("n", "NoOp")), nodes=(X, Y, node("c", "mine", "x"))).verdict is Verdict.ACCEPT


def test_a_function_does_not_stand_in_for_an_op():
    assert codes(by_hand(function("Identity", node("n", "NoOp")))) == ["forbidden_op"]


def test_two_nodes_of_one_name_are_rejected():
    assert codes(by_hand(nodes=(X, Y, Y))) == ["bad_saved_model"]


def test_many_wrong_nodes_are_told_in_few_findings():
    report = by_hand(nodes=(X, Y, *(node(f"n{n}", "ReadFile") for n in range(99))))
    assert len(report.findings) == 51
    assert "more than 50" in report.findings[-1].message


def test_long_names_are_cut():
    finding = by_hand(nodes=(X, Y, node("n" * 1000, "o" * 1000))).findings[0]
    assert len(finding.where) + len(finding.message) < 400


def test_what_a_file_says_of_itself_is_cut():
    long = "n" * 5000
    graphs = (
        meta_graph(tags=[long]),
        meta_graph(signatures={long: b""}),
        meta_graph(message(6, message(2, f"../{long}"))),
    )
    for graph in graphs:
        report = judged({"saved_model.pb": saved_model(graph)})
        assert report.verdict is Verdict.REJECT
        assert all(len(f.where + f.message + f.fix) < 600 for f in report.findings)


def test_functions_nested_in_attributes_have_an_end():
    value = message(10, message(1, "f"))
    for _ in range(30):
        value = message(10, message(1, "f"), pair(2, "g", value))
    assert codes(by_hand(nodes=(X, Y, node("n", "PartitionedCall", attrs={"f": value})))) == ["bad_saved_model"]


@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_a_signature_names_tensors_that_the_graph_has(graphs, part):
    gone = node("other", "Placeholder")
    report = by_hand(nodes=(gone, Y) if part == "inputs" else (X, gone))
    assert codes(report) == ["missing_tensor"]
    assert part in report.findings[0].where


def read(folder):
    return saved_model_pb.read_saved_model([(folder / "saved_model.pb").read_bytes()])[0]


def test_a_node_has_as_many_outputs_as_tensorflow_gives_it(graphs):
    for name, counts in json.loads((graphs / "outputs.json").read_text()).items():
        graph = read(graphs / name).graph
        functions = {f.name: f.outputs for f in graph.functions}
        told = {n.name: functions[n.op] if n.outputs is None else n.outputs for n in graph.nodes.values()}
        assert told == counts, name


def test_an_output_past_those_of_its_node_is_missing(graphs):
    files, tried = folder(graphs / "tf1_many_outputs"), set()
    names = [t.name for t in read(graphs / "tf1_many_outputs").signatures["serving_default"].outputs.values()]
    for name in names:
        node, _, number = name.partition(":")
        past = f"{node}:{int(number) + 1}"
        if past not in names:
            tried.add(node.partition("_")[0])
            changed = files["saved_model.pb"].replace(name.encode(), past.encode())
            report = judged(files | {"saved_model.pb": changed})
            assert (codes(report), report.verdict) == (["missing_tensor"], Verdict.REJECT), past
            assert past in report.findings[0].message
    assert tried >= {"split", "UniqueWithCounts", "TopKV2", "PartitionedCall", "two", "IteratorGetNext"}


@pytest.mark.parametrize(
    ("attrs", "outputs"),
    [
        ({"Tout": message(1, message(6, b"\1\7"))}, 2),
        ({"Tout": message(1, message(6, b"\x85\1\1"))}, 2),
        ({"Tout": message(1, number(6, 1), number(6, 1), number(6, 7))}, 3),
        ({"Tout": message(1)}, 0),
        ({}, None),
    ],
)
def test_a_call_has_as_many_outputs_as_its_list_of_types(attrs, outputs):
    called = function("f", node("n", "NoOp"))
    for n in range(4):
        nodes = (X, node("y", "StatefulPartitionedCall", attrs={"f": message(10, message(1, "f"))} | attrs))
        named = {"serving_default": signature({"x": tensor_info("x:0")}, {"y": tensor_info(f"y:{n}")})}
        pb = saved_model(meta_graph(nodes=nodes, functions=[called], signatures=named))
        is_there = outputs is None or n < outputs
        assert codes(judged({"saved_model.pb": pb})) == ["missing_tensor"] * (not is_there)


@pytest.mark.parametrize(("lists", "missing"), [((), True), (message(5, "N"), False), (message(6, "T"), False)])
def test_a_function_with_a_list_among_its_outputs_may_have_any_number(lists, missing):
    opdef = message(1, "f") + message(3, message(1, "out"), *([lists] if lists else []))
    named = {"serving_default": signature({"x": tensor_info("x:0")}, {"y": tensor_info("y:1")})}
    pb = saved_model(meta_graph(nodes=(X, node("y", "f")), functions=[message(1, opdef)], signatures=named))
    assert codes(judged({"saved_model.pb": pb})) == ["missing_tensor"] * missing


@pytest.mark.parametrize("name", ["y", "^y", "^y:0", "y:", "y:x", "y:-1", "y:1", "y:0:0", "y:" + "9" * 5000, ""])
def test_a_tensor_is_a_node_and_the_number_of_its_output(name):
    named = {"serving_default": signature({"x": tensor_info("x:0")}, {"y": tensor_info(name)})}
    assert codes(judged({"saved_model.pb": saved_model(meta_graph(signatures=named))})) == ["missing_tensor"]


def test_a_sparse_input_is_the_tensors_of_which_it_is_made(graphs):
    assert len(read(graphs / "tf1_sparse").signatures["serving_default"].inputs["x"].names) == 3


def test_a_field_number_past_32_bits_is_malformed():
    with pytest.raises(Malformed, match="no legal number"):
        list(Wire([varint((1 << 33 | 2) << 3) + b"\0"]).fields())


def test_a_graph_of_more_than_is_judged_costs_no_more():
    wire = Wire([message(2, *(message(1, node(f"node{n}", "NoOp", "^x")) for n in range(20_000)))])
    field = next(wire.fields())
    tracemalloc.start()
    with pytest.raises(Malformed, match="more nodes"):
        read_graph(wire, field, Graph(), Room(2**20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_large_function_is_not_held():
    body = b"".join(message(3, node(f"node{n}", "Identity", "x")) for n in range(2_000))
    library = message(2, *(message(1, message(1, message(1, f"f{n}")) + body) for n in range(10)))
    wire, graph, room = Wire([message(2, library)]), Graph(), Room(2**20)
    read_graph(wire, next(wire.fields()), graph, room)
    assert len(graph.functions) == 10
    assert room.used < 20_000


def test_captures_are_counted_before_they_are_held():
    objects = message(7, pair(2, "f", message(2, bytes(10**7))))
    assert codes(by_hand(more=(objects,))) == ["bad_saved_model"]


def test_captures_may_be_packed_or_single():
    packed, single = message(2, varint(300) + varint(2)), number(2, 300) + number(2, 2)
    for written in (packed, single):
        pb = saved_model(meta_graph(message(7, pair(2, "f", written))))
        assert saved_model_pb.read_saved_model([pb])[0].objects.captures == {"f": [300, 2]}


def test_the_names_are_those_of_the_installed_tensorflow(graphs):
    known = json.loads((graphs / "ops.json").read_text())
    if known["version"] == TENSORFLOW:
        assert {op for op in known["ops"] if not op.startswith(("_Mkl", "__Mkl"))} == OPS
    assert FORBIDDEN.keys() | BY_TEXT.keys() <= OPS


def test_the_numbers_of_outputs_are_those_of_the_installed_tensorflow(graphs):
    known = json.loads((graphs / "ops.json").read_text())
    if known["version"] == TENSORFLOW:
        terms = {op: Counter(known["outputs"][op]) for op in OPS}
        assert {op: added(OUTPUTS.get(op, "1")) for op in OPS} == terms


def added(outputs):
    """Return how often each attribute is added, and "" for what is added without one."""
    found = Counter()
    for term in outputs.split("+"):
        times, _, what = term.rpartition("*")
        found += Counter({"": int(what)}) if what.isdigit() else Counter({what: int(times or 1)})
    return found


def test_no_free_op_takes_the_name_of_a_file_or_a_place(graphs):
    known = json.loads((graphs / "ops.json").read_text())["ops"]
    assert [op for op, texts in known.items() if op in FREE and any(map(REACHES_OUT.search, texts))] == []
