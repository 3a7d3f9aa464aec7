"""The parts that decide without a process: digest, codec, tensors, batching, settings."""

import hashlib
import json
import math
import os
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelserver import digest
from modelserver.batching import SHORT_CALLS, Pace, next_batch
from modelserver.codec import encode, fast_instances, nonfinite_in
from modelserver.digest import file_digest, folder_digest, version_digest
from modelserver.engine import Job
from modelserver.errors import RequestError
from modelserver.formats import set_openmp
from modelserver.outcomes import predict_each
from modelserver.rows import HandlerRows, Prediction, TensorRows
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings, SettingsError
from modelserver.tensors import place, rows_from_columns, rows_from_instances


def sha(content):
    return hashlib.sha256(content)


def test_a_small_files_digest_is_its_plain_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == sha(b"abc").hexdigest()


@pytest.mark.parametrize(("size", "parts"), [(8, 1), (9, 2), (16, 2), (17, 3)])
def test_a_large_files_digest_is_over_its_parts(tmp_path, monkeypatch, size, parts):
    monkeypatch.setattr(digest, "PART", 8)
    content = bytes(range(size))
    (tmp_path / "f").write_bytes(content)
    pieces = b"".join(sha(content[i : i + 8]).digest() for i in range(0, size, 8))
    expected = f"{sha(pieces).hexdigest()}-{parts}" if parts > 1 else sha(content).hexdigest()
    assert file_digest(tmp_path / "f") == expected


def test_the_version_digest_knows_paths_sizes_and_bytes_but_no_order():
    files = [("b", 1, "x"), ("a/é", 2, "y")]
    expected = "sha256:" + sha("a/é\x002\x00y\nb\x001\x00x\n".encode()).hexdigest()
    assert version_digest(files) == version_digest(reversed(files)) == expected


def test_the_control_planes_own_files_are_not_the_artifact(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "_SUCCESS").write_text("a file of the artifact")
    before = folder_digest(tmp_path)
    (tmp_path / "_reports").mkdir()
    for name in ("_report.json", "_report.txt", "_reports/x.json", "_manifest.json", "_SUCCESS"):
        (tmp_path / name).write_text("ours")
    assert folder_digest(tmp_path) == before
    (tmp_path / "sub" / "_SUCCESS").write_text("changed")
    assert folder_digest(tmp_path) != before


NESTED = st.recursive(
    st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)), st.lists, max_leaves=12
)


@given(st.lists(NESTED, max_size=4))
def test_fast_decoding_gives_what_numpy_gives_or_steps_aside(instances):
    fast = fast_instances(json.dumps({"instances": instances}).encode(), "d")
    try:
        slow = np.array(instances, dtype="f8")
    except ValueError:
        slow = None
    if fast is not None:
        np.testing.assert_array_equal(fast, slow)
    else:
        assert slow is None or slow.size == 0


@pytest.mark.parametrize(
    "text", ["[[1],[2,3,4]]", "[[1,2],[3,[4]]]", "[[1,[2]],[3,4]]", '[[1,"2"]]', "[true]", "[null]"]
)
def test_fast_decoding_leaves_ragged_and_mixed_lists_to_the_slow_way(text):
    assert fast_instances(b'{"instances": %b}' % text.encode(), "d") is None


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (math.nan, 1),
        ([1.0, math.inf, None, "NaN"], 1),
        ({"a": np.array([1, np.nan, -np.inf], dtype="f4"), "b": (np.float32("nan"),)}, 3),
        (np.array([1, 2]), 0),
    ],
)
def test_every_number_that_is_not_finite_is_counted_and_becomes_null(value, count):
    encoded = encode({"x": value})
    assert encoded.nonfinite == nonfinite_in(value) == count
    assert "NaN" not in encoded.body.decode().replace('"NaN"', "")
    json.loads(encoded.body)


def test_float32_leaves_with_its_own_shortest_digits():
    assert encode(np.array([0.1], dtype="f4")).body == b"[0.1]"


def test_bytes_leave_as_text_or_base64():
    assert json.loads(encode([b"a", b"\xff"]).body) == ["a", {"b64": "/w=="}]


IDS = Schema((TensorSpec("ids", "int32", (None, None)),), ())


def test_a_fixed_batch_axis_is_not_shared():
    schema = Schema((TensorSpec("x", "float32", (2, 1)),), ())
    assert not rows_from_instances(b'{"instances": [[1], [2]]}', schema).batchable
    with pytest.raises(RequestError, match="expected 2 values, got 1") as error:
        rows_from_instances(b'{"instances": [[1]]}', schema)
    assert error.value.where == "instances"


@pytest.mark.parametrize(
    ("instances", "where", "message"),
    [
        ("[[1, 2], [3]]", "instances[1]", "expected 2 values, got 1"),
        ("[[1, 2.5]]", "instances[0][1]", "expected an integer, got the number 2.5"),
        ("[[3000000000]]", "instances[0][0]", "3000000000 does not fit int32"),
        ("[[true]]", "instances[0][0]", "expected an integer, got a boolean"),
        ("[[1], {}]", "instances[1]", "expected a list of shape [1], got an object"),
        ("[[123456789012345678901234567890]]", "instances[0][0]", "expected an integer, got the number 1.23"),
    ],
)
def test_the_first_value_that_does_not_fit_is_named(instances, where, message):
    with pytest.raises(RequestError) as error:
        rows_from_instances(b'{"instances": %b}' % instances.encode(), IDS)
    assert (error.value.status, error.value.where) == (400, where)
    assert message in error.value.message


def test_columns_must_agree_in_their_first_axis():
    schema = Schema((TensorSpec("a", "float32", (None,)), TensorSpec("b", "float32", (None,))), ())
    assert rows_from_columns(b'{"inputs": {"a": [1, 2], "b": [3, 4]}}', schema).count == 2
    with pytest.raises(RequestError, match="differ in the length"):
        rows_from_columns(b'{"inputs": {"a": [1, 2], "b": [3]}}', schema)


def test_a_place_in_a_column_is_named_by_instance():
    assert place("instances[*].ids", [1, 0]) == "instances[1].ids[0]"
    assert place("instances", [1, 0]) == "instances[1][0]"


def tensor_job(rows, width=1):
    return Job(TensorRows({"x": np.zeros((rows, width))}, rows), print)


def test_a_batch_takes_what_fits_and_leaves_the_rest_in_order():
    a, other, b, big, c = tensor_job(2), tensor_job(1, width=3), tensor_job(1), tensor_job(8), tensor_job(1)
    queue = deque([a, other, b, big, c])
    assert next_batch(queue, 4) == [a, b, c]
    assert list(queue) == [other, big]
    assert next_batch(queue, 4) == [other]
    assert next_batch(queue, 4) == [big]
    assert next_batch(queue, 4) == []


def doubled(batch):
    values = [row for rows in batch for row in rows.rows]
    if 0 in values:
        raise ZeroDivisionError("a zero")
    return [Prediction([2 * row for row in rows.rows]) for rows in batch]


def test_where_a_batch_raises_only_the_bad_request_fails():
    good, bad, also_good = predict_each(doubled, [HandlerRows([1, 2]), HandlerRows([3, 0]), HandlerRows([4])])
    assert (good.values, also_good.values) == ([2, 4], [8])
    assert (bad.status, bad.message, bad.where) == (500, "ZeroDivisionError: a zero", "instances[1]")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT is 'http'; it must be a number"),
        ({"MODELDROP_THREADS": "0"}, "MODELDROP_THREADS is 0; it must be above 0"),
        ({"AIP_PREDICT_ROUTE": "predict"}, "AIP_PREDICT_ROUTE is 'predict'; it must begin with '/'"),
        ({"MODELDROP_DEVICE": "tpu"}, "MODELDROP_DEVICE is 'tpu'; it must be one of auto, cpu, cuda"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(env, message):
    with pytest.raises(SettingsError, match="^" + message.replace(".", r"\.")):
        Settings.from_env(env)


def test_defaults_are_sagemakers_and_vertexs():
    settings = Settings.from_env({})
    assert (str(settings.model_dir), settings.port) == ("/opt/ml/model", 8080)
    assert (settings.health_route, settings.predict_route) == ("/health", "/predict")


def test_only_calls_that_have_been_short_for_a_while_run_on_the_loop():
    pace, handler = Pace(may_be_short=True, most=32), Pace(may_be_short=False, most=32)
    for _ in range(SHORT_CALLS):
        assert not pace.is_short
        pace.note(1, 0.0002)
        handler.note(1, 0.0002)
    assert (pace.is_short, handler.is_short) == (True, False)
    pace.note(1, 0.05)
    assert not pace.is_short


def test_threads_that_wait_leave_the_core_and_the_operator_may_say_otherwise(monkeypatch):
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "3"})
    set_openmp(2)
    assert os.environ == {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "PASSIVE"}
