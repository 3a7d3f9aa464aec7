"""What TensorFlow and Keras export is understood without TensorFlow, and what can't be served says why."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.domain.findings import ArtifactFormat, Verdict
from chalicelib.domain.formats import judge_upload
from chalicelib.domain.formats.checkpoint import read_index
from chalicelib.domain.formats.saved_model_pb import read_saved_model
from chalicelib.domain.objects import Upload
from chalicelib.domain.protobuf import BUFFER_LIMIT, Malformed, Wire
from chalicelib.domain.sstable import crc32c, entries
from tests.domain.uploads import PREFIX, Memory, codes, folder, judged, stored

INDEX = "variables/variables.index"


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def message(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


@pytest.fixture(scope="module")
def keras(saved_models):
    return folder(saved_models / "keras")


@pytest.mark.parametrize(
    "name", ["keras", "no_variables", "vocabulary", "tf1", "tf1_no_variables", "gpu_tag", "sharded"]
)
def test_what_the_exporters_write_is_accepted(saved_models, name):
    report = judged(folder(saved_models / name))
    assert report.verdict is Verdict.ACCEPT, report
    assert report.format is ArtifactFormat.SAVED_MODEL
    assert report.details["tensorflow"].startswith("2.")


def test_the_schema_is_that_of_serving_default(saved_models, keras):
    assert judged(keras).schema == {
        "inputs": {"keras_tensor": {"dtype": "float32", "shape": [None, 64]}},
        "outputs": {"output_0": {"dtype": "float32", "shape": [None, 10]}},
    }
    assert judged(folder(saved_models / "vocabulary")).schema == {
        "inputs": {"x": {"dtype": "string", "shape": [None]}},
        "outputs": {"y": {"dtype": "int64", "shape": [None]}},
    }


def test_a_model_without_serve_tag_is_rejected_and_says_its_tags(saved_models):
    report = judged(folder(saved_models / "train_tag"))
    assert codes(report) == ["no_serve_tag"]
    assert "this file has: train" in report.findings[0].message


def test_of_two_graphs_the_one_tagged_exactly_serve_is_chosen():
    def graph(signature, *tags):
        info = b"".join(message(4, t.encode()) for t in tags)
        tensor = message(1, b"x") + message(2, message(1, b"x:0"))
        value = message(1, tensor) + message(2, tensor)
        node = message(1, message(1, b"x") + message(2, b"Placeholder"))
        return message(
            2, message(1, info) + message(2, node) + message(5, message(1, signature.encode()) + message(2, value))
        )

    both = graph("other", "serve", "gpu") + graph("serving_default", "serve")
    assert judged({"saved_model.pb": both}).verdict is Verdict.ACCEPT
    near = graph("serving_default", "serve", "gpu") + graph("serving_default", "train")
    assert judged({"saved_model.pb": near}).verdict is Verdict.ACCEPT
    twice = graph("serving_default", "serve", "gpu") + graph("serving_default", "serve", "tpu")
    assert codes(judged({"saved_model.pb": twice})) == ["no_serve_tag"]


def test_a_model_without_serving_default_is_rejected_and_says_its_signatures(saved_models):
    report = judged(folder(saved_models / "other_signature"))
    assert codes(report) == ["no_serving_default"]
    assert "double" in report.findings[0].message


def test_a_signature_without_outputs_is_rejected():
    value = message(1, message(1, b"x") + message(2, b""))
    graph = message(1, message(4, b"serve")) + message(5, message(1, b"serving_default") + message(2, value))
    report = judged({"saved_model.pb": message(2, graph)})
    assert codes(report) == ["no_serving_default", "missing_tensor"]
    assert "no outputs" in report.findings[0].message


def test_an_empty_file_is_named_as_what_it_is_though_it_parses():
    assert codes(judged({"saved_model.pb": b""})) == ["empty_file"]


def test_an_asset_outside_its_folder_is_rejected():
    graph = message(1, message(4, b"serve")) + message(6, message(2, b"../../etc/passwd"))
    assert "illegal_path" in codes(judged({"saved_model.pb": message(2, graph)}))


def test_every_truncation_of_a_saved_model_is_rejected_or_lacks_its_graph(keras):
    whole = keras["saved_model.pb"]
    for n in range(1, len(whole), 997):
        assert codes(judged(keras | {"saved_model.pb": whole[:n]})) in (["bad_saved_model"], ["no_serve_tag"])


def test_a_page_saved_as_the_model_is_rejected():
    page = b"<html><body>404 Not Found</body></html>"
    assert codes(judged({"saved_model.pb": page})) == ["error_page"]


def test_the_index_says_how_long_each_shard_is(saved_models):
    files = folder(saved_models / "sharded")
    shards = read_index(files[INDEX]).shards
    assert [s.path for s in shards] == [f"variables/variables.data-0000{n}-of-00003" for n in range(3)]
    assert [s.size for s in shards] == [len(files[s.path]) for s in shards] == [400, 800, 1200]


def test_an_index_with_any_other_byte_is_rejected(keras):
    index = keras[INDEX]
    for at in range(0, len(index) - 48, 7):  # the footer has no checksum
        changed = index[:at] + bytes([index[at] ^ 1]) + index[at + 1 :]
        report = judged(keras | {INDEX: changed})
        assert codes(report) in (["bad_variables_index"], []), at
        assert report.verdict is not Verdict.INCOMPLETE


def test_an_empty_or_cut_index_is_rejected(keras):
    assert codes(judged(keras | {INDEX: b""})) == ["empty_file"]
    for body in (keras[INDEX][:50], keras[INDEX][:-1]):
        assert codes(judged(keras | {INDEX: body})) == ["bad_variables_index"]


def test_crc32c_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283


def test_a_huge_constant_costs_no_memory():
    constant = 300 * 2**20
    serve = message(1, message(4, b"serve") + message(5, b"2.21.0"))
    body = varint(8 << 3 | 2) + varint(constant)  # an attribute's tensor
    for number in (2, 5, 1, 2):  # is the value of a map's entry, of a node, of a graph, of a MetaGraph
        body = varint(number << 3 | 2) + varint(len(body) + constant) + body
    size = len(serve) + len(body) + constant

    class Huge(Memory):
        def stream(self, path):
            yield varint(2 << 3 | 2) + varint(size) + serve + body
            block = bytes(2**20)
            yield from (block for _ in range(300))

    upload = Upload(PREFIX, (stored("saved_model.pb", size),))
    tracemalloc.start()
    report = judge_upload(upload, Huge({"saved_model.pb": b""}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes(report) == ["no_serving_default", "unknown_op"]  # the node has no op
    assert report.details["tensorflow"] == "2.21.0"
    assert peak < 4 * 2**20


def test_a_field_that_must_be_held_is_refused_when_it_is_huge():
    wire = Wire([varint(5 << 3 | 2) + varint(BUFFER_LIMIT + 1), bytes(BUFFER_LIMIT + 1)])
    field = next(wire.fields())
    with pytest.raises(Malformed, match="more than"):
        wire.take(field)


@given(st.binary(max_size=200), st.integers(1, 7))
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1)
def test_random_bytes_are_read_or_malformed_in_any_blocks(body, step):
    def read(blocks):
        try:
            return read_saved_model(blocks)
        except Malformed as e:
            return str(e)

    assert read([body[at : at + step] for at in range(0, len(body), step)]) == read([body])


@given(st.binary(max_size=300))
def test_a_random_table_is_read_or_malformed(body):
    footer = body[:40].ljust(40, b"\0") + 0xDB4775248B80FB57.to_bytes(8, "little")
    for table in (body, body + footer):
        try:
            list(entries(table))
        except Malformed:
            continue


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=5))
def test_a_table_with_right_checksums_is_read_back_or_malformed(rows):
    """Blocks written by hand, so that what lies behind the checksum is reached too."""

    def sealed(block):
        crc = crc32c(block + b"\0")
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        return block + b"\0" + masked.to_bytes(4, "little")

    def block_of(pairs):
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs)
        return body + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")

    first = block_of(rows)
    index = block_of([(b"zz", varint(0) + varint(len(first)))])
    body = sealed(first)
    start = len(body)
    footer = varint(0) + varint(0) + varint(start) + varint(len(index))
    table = body + sealed(index) + footer.ljust(40, b"\0") + 0xDB4775248B80FB57.to_bytes(8, "little")
    assert list(entries(table)) == rows
    with suppress(Malformed):
        read_index(table)
