"""Bodies that are no JSON, and the environments of the platforms, without a process."""

import io
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from modelserver import npy
from modelserver.__main__ import main
from modelserver.contracts import ControlRoute, Standing, kserve_v1, open_inference
from modelserver.contracts.instances import has_instances_only
from modelserver.errors import RequestError
from modelserver.formats.saved_model import Undecided
from modelserver.media import is_json, wants_npy
from modelserver.settings import Settings, SettingsError
from modelserver.v2_wire import from_binary, from_json, to_binary

NUMBERS = arrays.arrays(
    st.sampled_from(["?", "<i1", "<u2", ">i4", "<i8", "<f2", ">f4", "<f8"]),
    arrays.array_shapes(max_dims=3, max_side=4),
)


def file_of(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


# --- .npy --------------------------------------------------------------------------------------------------------
@given(NUMBERS, st.booleans())
def test_every_array_of_numbers_is_read_as_numpy_reads_it(array, is_fortran):
    read = npy.read(file_of(np.asfortranarray(array) if is_fortran else array))
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative


def test_text_is_read_as_bytes():
    assert npy.read(file_of(np.array(["é", ""]))).tolist() == ["é".encode(), b""]
    assert npy.read(file_of(np.array([b"ab", b"c"]))).tolist() == [b"ab", b"c"]


def header(text, values=b""):
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no .npy file"),
        (b"\x93NUMPY\x04\x00\x00\x00", "no .npy file"),
        (file_of(np.zeros(3))[:-1], "not an array of shape [3]"),
        (file_of(np.zeros(3)) + b"x", "not an array of shape [3]"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"), "0 bytes of values"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 0)}"), "holds no values"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04."), "'|O' are not taken"),
        (header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}"), "are not taken"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "has the shape (-1,)"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}"), "has the shape (True,)"),
        (header("print(1)"), "cannot be read"),
        (header("(" * 3000), "cannot be read"),
        (header("{'a': " * 900), "larger than"),
    ],
)
def test_a_file_that_is_no_plain_array_is_refused_before_room_is_made_for_it(body, said):
    with pytest.raises(RequestError) as error:
        npy.read(body)
    assert error.value.status == 400
    assert said in error.value.message


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_an_array_or_refused(tail):
    try:
        assert npy.read(npy.MAGIC + b"\1\0" + tail).size
    except RequestError as error:
        assert error.status == 400  # noqa: PT017 - either is right


# --- tensors of the Open Inference Protocol ----------------------------------------------------------------------
@given(NUMBERS)
def test_binary_tensors_come_back_as_they_were(array):
    datatype = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}[array.dtype.kind]
    name = datatype if datatype == "BOOL" else f"{datatype}{array.dtype.itemsize * 8}"
    np.testing.assert_array_equal(from_binary(memoryview(to_binary(array)), name, array.shape, "x"), array)


def test_bfloat16_is_widened():
    halves = np.array([1.5, -2.0], "<f4").view("<u4") >> 16
    sent = memoryview(halves.astype("<u2").tobytes())
    assert from_binary(sent, "BF16", (2,), "x").tolist() == [1.5, -2.0]


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=5))
def test_elements_of_bytes_come_back_as_they_were(values):
    array = np.array([*values, None], dtype=object)[:-1]
    assert from_binary(memoryview(to_binary(array)), "BYTES", array.shape, "x").tolist() == values


@pytest.mark.parametrize("sent", [b"\1", b"\2\0\0\0a", b"\xff\xff\xff\xff", b"\1\0\0\0a\0"])
def test_an_element_that_is_cut_off_is_refused(sent):
    with pytest.raises(RequestError, match="longer than what was sent"):
        from_binary(memoryview(sent), "BYTES", (1,), "x")


def test_json_tensors_may_be_flat_or_nested():
    assert from_json([1, 2, 3, 4], "INT8", (2, 2), "x").tolist() == [[1, 2], [3, 4]]
    assert from_json([[1, 2], [3, 4]], "FP16", (2, 2), "x").tolist() == [[1, 2], [3, 4]]
    assert from_json([["a"], ["é"]], "BYTES", (2, 1), "x").tolist() == [[b"a"], ["é".encode()]]


@pytest.mark.parametrize(
    ("data", "datatype"),
    [([300], "INT8"), ([-1], "UINT8"), ([1.5], "INT64"), ([1e6], "FP16"), ([1], "BOOL"), ("a", "BYTES")],
)
def test_a_value_that_does_not_fit_its_datatype_is_refused(data, datatype):
    with pytest.raises(RequestError) as error:
        from_json(data, datatype, (1,), "x")
    assert error.value.status == 400


# --- what is meant -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("accept", "npy_wanted"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/x-npy", True),
        ("application/x-npy, */*", True),
        ("application/json, application/x-npy", False),
        ("application/x-npy, application/json", True),
        ("application/x-npy;q=0.1, application/json", False),
        ("application/x-npy;q=0, */*", False),
        ("text/csv, application/*;q=0.2", False),
        ("Application/X-NPY", True),
        ("application/x-npy;q=nonsense, */*", False),
    ],
)
def test_accept_says_which_of_the_two_answers(accept, npy_wanted):
    assert wants_npy({"accept": accept} if accept else {}) is npy_wanted


@pytest.mark.parametrize(
    "kind", ["", "application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"]
)
def test_json_goes_by_several_names(kind):
    assert is_json({"content-type": kind} if kind else {})


@pytest.mark.parametrize(
    ("body", "only"),
    [
        (b'{"instances": [[1, 2]]}', True),
        (b'{ "instances": [1]}', True),
        (b'{"instances": [{"b64": "AAAA"}]}', True),
        (b'{"instances": [1], "parameters": {}}', False),
        (b'{"signature_name": "a", "instances": [1]}', False),
        (b'{"inputs": [1]}', False),
        (b'{"instances": [' + b'"a",' * 100 + b'1], "inputs": 1}', False),
        (b'{"instances": [' + b'"a",' * 100 + b"1]}", True),
    ],
)
def test_a_body_with_nothing_but_instances_is_known_without_parsing(body, only):
    assert has_instances_only(body) is only


# --- environments ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({}, "/opt/ml/model"),
        ({"AIP_STORAGE_URI": "file:///models/a%20b"}, "/models/a b"),
        ({"AIP_STORAGE_URI": "/gcs/bucket/m"}, "/gcs/bucket/m"),
        ({"AIP_STORAGE_URI": "gs://bucket/m", "MODEL_DIR": "/baked"}, "/baked"),
        ({"MODEL_DEPLOYMENT_OCID": "ocid1.x"}, "/opt/ds/model/deployed_model"),
        ({"MODEL_DEPLOYMENT_OCID": "ocid1.x", "MODEL_DIR": "/m"}, "/m"),
    ],
)
def test_the_model_is_where_the_platform_puts_it(env, folder):
    assert str(Settings.from_env(env).model_dir) == folder


@pytest.mark.parametrize(
    ("env", "port"),
    [
        ({}, 8080),
        ({"SAGEMAKER_BIND_TO_PORT": "9000"}, 9000),
        ({"AIP_HTTP_PORT": "7080", "SAGEMAKER_BIND_TO_PORT": "9000"}, 7080),
    ],
)
def test_the_port_is_the_platforms(env, port):
    assert Settings.from_env(env).port == port


def test_routes_and_time_are_the_platforms():
    vertex = Settings.from_env({"AIP_HEALTH_ROUTE": "/h", "AIP_PREDICT_ROUTE": "/p"})
    assert (vertex.oci_health_route, vertex.oci_predict_route) == ("/h", "/p")
    oci = Settings.from_env({"MODEL_DEPLOY_HEALTH_ENDPOINT": "/a", "MODEL_DEPLOY_PREDICT_ENDPOINT": "/s"})
    assert (oci.oci_health_route, oci.oci_predict_route, oci.predict_route) == ("/a", "/s", "/predict")
    assert Settings.from_env({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "5"}).request_timeout_s == 5
    both = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "5", "MODELDROP_REQUEST_TIMEOUT_S": "7"}
    assert math.isclose(Settings.from_env(both).request_timeout_s, 7)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AIP_STORAGE_URI": "gs://bucket/m"}, "AIP_STORAGE_URI is 'gs://bucket/m'; only a local folder or file://"),
        ({"AIP_STORAGE_URI": "file://host/m"}, "say where in MODEL_DIR"),
        ({"SAGEMAKER_BIND_TO_PORT": "70000"}, "at most 65535"),
        ({"MODELDROP_MODEL_NAME": "a/b"}, "no '/'"),
        ({"MODELDROP_MODEL_VERSION": "1:2"}, "no ':'"),
        ({"MODEL_DEPLOY_PREDICT_ENDPOINT": "score"}, "must begin with '/'"),
    ],
)
def test_what_an_environment_says_wrong_is_named(env, said):
    with pytest.raises(SettingsError) as error:
        Settings.from_env(env)
    assert said in str(error.value)


def test_train_is_refused_with_what_the_image_is_for(capsys):
    assert main(["train"]) == 2
    assert "it takes 'serve', not 'train'" in capsys.readouterr().err


# --- before a model is there, and between several signatures -----------------------------------------------------
@pytest.mark.parametrize(
    ("contract", "path"),
    [
        (kserve_v1, "/v1/models/model"),
        (kserve_v1, "/v1/models/model/metadata"),
        (open_inference, "/v2/health/ready"),
        (open_inference, "/v2/models/model"),
        (open_inference, "/v2/models/model/ready"),
    ],
)
def test_a_model_that_is_still_loading_is_told_to_be_unready(contract, path):
    said = {r.path: r.answer for r in contract.routes(Settings()) if isinstance(r, ControlRoute)}
    assert said[path](Standing("loading")).status == 503


def test_the_server_lives_while_its_model_loads():
    said = {r.path: r.answer for r in open_inference.routes(Settings()) if isinstance(r, ControlRoute)}
    assert said["/v2/health/live"](Standing("loading")).status == 200


def test_of_several_signatures_without_serving_default_one_must_be_named():
    meant = Undecided(["encode", "decode"])
    for ask in (meant.rows_of_instances, meant.rows_of_request, meant.rows_of_tensors):
        with pytest.raises(RequestError, match="name one of the signatures encode, decode"):
            ask(b"", {})
