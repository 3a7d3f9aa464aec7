"""Open Inference Protocol V2, as KServe and Triton speak it: `/v2`, health, metadata, and `infer` with JSON or binary.

A handler gets one row for each entry of the first axis: `{"data": x}` of one input, an object by name of several. What
it answers is the one output `predictions`: numbers and booleans as such, text as BYTES, anything else as BYTES of JSON.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import orjson

from modelserver.codec import Encoded, encode, loads, nonfinite_in
from modelserver.context import SERVER_NAME, SERVER_VERSION
from modelserver.contracts import Answer, Call, ControlRoute, PredictRoute, Route, Standing
from modelserver.contracts.signatures import NAME, named, reader_for
from modelserver.errors import RequestError, bad_request
from modelserver.formats import Model
from modelserver.media import OCTETS, PARAMETERS, is_json, media_type, refuse_encoding, unsupported
from modelserver.messages import JSON, Request, Response, json_response
from modelserver.rows import Array, Prediction
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings
from modelserver.v2_wire import TYPES, as_bytes, datatype_of, from_binary, from_json, shape_of, to_binary

ROOT = "/v2"
JSON_LENGTH = "Inference-Header-Content-Length"
PLATFORMS = {"saved_model": "tensorflow_savedmodel", "torch_archive": "pytorch_torchserve"}
PREDICTIONS = "predictions"
# What a model that does not say its tensors takes and answers, so that a client has something to go by.
UNSAID = Schema((TensorSpec("data", "string", (None,)),), (TensorSpec(PREDICTIONS, "string", (None,)),))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An answer as the request asks for it: outputs by name (none: all), and whether each is binary."""

    model: str
    version: str
    id: str | None
    outputs: Mapping[str, bool]
    is_binary: bool
    names: Sequence[str]


def routes(settings: Settings) -> list[Route]:
    base = f"{ROOT}/models/{settings.model_name}"
    both = (base, f"{base}/versions/{settings.model_version}")
    infer = partial(parse, settings)
    return [
        ControlRoute(ROOT, _server),
        ControlRoute(f"{ROOT}/health/live", lambda _: json_response(200, {"live": True})),
        ControlRoute(f"{ROOT}/health/ready", _ready),
        *(ControlRoute(path, partial(_metadata, settings)) for path in both),
        *(ControlRoute(f"{path}/ready", partial(_model_ready, settings)) for path in both),
        *(PredictRoute(f"{path}/infer", infer, finish=with_plain_error) for path in both),
    ]


def absent(settings: Settings, path: str) -> RequestError | None:
    """Say which model or version is not there."""
    if not path.startswith(f"{ROOT}/models/"):
        return None
    name, _, rest = path.removeprefix(f"{ROOT}/models/").partition("/")
    if name != settings.model_name:
        message = f"the model {name[:200]!r} is not here; this server has {settings.model_name!r}"
        return RequestError(404, "unknown_model", message)
    version = rest.removeprefix("versions/").partition("/")[0]
    if rest.startswith("versions/") and version != settings.model_version:
        message = f"version {version[:200]!r} is not here; this server has {settings.model_version!r}"
        return RequestError(404, "unknown_version", message)
    return None


def with_plain_error(_: Request, response: Response) -> Response:
    """The protocol's error is one string; code and place stand beside it."""
    if response.status < 400 or not response.body.startswith(b'{"error":{'):  # noqa: PLR2004 - HTTP's errors begin here
        return response
    said = orjson.loads(response.body)["error"]
    place = f" (at {said['where']})" if "where" in said else ""
    return replace(response, body=orjson.dumps({**said, "error": f"{said['message']}{place}"}))


# What the server and the model say of themselves.


def _server(_: Standing) -> Response:
    return json_response(200, {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": ["binary_tensor_data"]})


def _ready(standing: Standing) -> Response:
    return json_response(200 if standing.is_ready else 503, {"ready": standing.is_ready})


def _model_ready(settings: Settings, standing: Standing) -> Response:
    return json_response(200 if standing.is_ready else 503, {"name": settings.model_name, "ready": standing.is_ready})


def _metadata(settings: Settings, standing: Standing) -> Response:
    model = standing.model
    if model is None:
        return json_response(503, {"error": "the model is still loading"})
    schema = model.schema or UNSAID
    document = {
        "name": settings.model_name,
        "versions": [settings.model_version],
        "platform": PLATFORMS.get(model.format, "python"),
        "inputs": [_said(spec) for spec in schema.inputs],
        "outputs": [_said(spec) for spec in schema.outputs],
    }
    return json_response(200, document)


def _said(spec: TensorSpec) -> dict[str, Any]:
    """A tensor as metadata has it; where not even the rank is known, one free axis stands for all."""
    shape = [-1] if spec.shape is None else [-1 if n is None else n for n in spec.shape]
    return {"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": shape}


# A request.


def parse(settings: Settings, model: Model, request: Request) -> Call:
    """Rows from tensors by name; `parameters.signature_name` chooses among a SavedModel's signatures."""
    refuse_encoding(request.headers)
    document, binary = _parts(request)
    parameters = _object(document.get("parameters"), "parameters")
    name, where = named(request.headers, parameters)
    reader = reader_for(model, name, f"parameters.{where}" if where == NAME else where)
    headers = {**request.headers, PARAMETERS: orjson.dumps(parameters).decode()} if parameters else request.headers
    rows = reader.rows_of_tensors(_tensors(document.get("inputs"), binary), headers)
    schema: Schema | None = reader.schema if name and hasattr(reader, "schema") else model.schema
    wanted = _wanted(settings, document, parameters, schema)
    return Call(rows, partial(encode_outputs, wanted))


def _parts(request: Request) -> tuple[dict[str, Any], memoryview]:
    """The JSON at the body's beginning, and the bytes behind it."""
    length = _json_length(request)
    if length is None:
        if not is_json(request.headers) and media_type(request.headers) != OCTETS:
            raise unsupported(request.headers, f"{JSON}, or {OCTETS} with {JSON_LENGTH}")
        length = len(request.body)
    document = loads(request.body[:length])
    if not isinstance(document, dict):
        raise bad_request("wrong_type", 'the body must be a JSON object with "inputs"', "body")
    return document, memoryview(request.body)[length:]


def _json_length(request: Request) -> int | None:
    text = request.headers.get(JSON_LENGTH.lower())
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 12) or int(text) > len(request.body):  # noqa: PLR2004
        message = f"{text[:40]!r} is no length of a body of {len(request.body)} bytes"
        raise bad_request("bad_json_length", message, JSON_LENGTH)
    return int(text)


def _tensors(inputs: Any, binary: memoryview) -> dict[str, Array]:
    """Every input's array; binary data lies in the order of the inputs and is used up."""
    if not isinstance(inputs, list) or not inputs:
        raise bad_request("missing_inputs", '"inputs" must be a list of at least one tensor', "inputs")
    tensors: dict[str, Array] = {}
    for i, given in enumerate(inputs):
        name, array, binary = _tensor(given, f"inputs[{i}]", binary)
        if name in tensors:
            raise bad_request("duplicate_input", f"the input {name!r:.200} is there twice", f"inputs[{i}].name")
        tensors[name] = array
    if binary:
        raise bad_request("wrong_size", f"{len(binary)} bytes belong to no input", "body")
    return tensors


def _tensor(given: Any, where: str, binary: memoryview) -> tuple[str, Array, memoryview]:
    given = _object(given, where)
    name, datatype = given.get("name"), given.get("datatype")
    if not isinstance(name, str) or not name:
        raise bad_request("missing_name", "a tensor must have a name", f"{where}.name")
    if not isinstance(datatype, str) or datatype not in TYPES:
        message = f"the datatype {datatype!r:.80} is not taken; use one of {', '.join(TYPES)}"
        raise bad_request("unknown_datatype", message, f"{where}.datatype")
    shape = shape_of(given.get("shape"), f"{where}.shape")
    parameters = _object(given.get("parameters"), f"{where}.parameters")
    if "shared_memory_region" in parameters:
        raise bad_request("no_shared_memory", "shared memory is not supported; send the data", f"{where}.parameters")
    size = parameters.get("binary_data_size")
    if size is None:
        return name, _from_json(given, datatype, shape, where), binary
    if type(size) is not int or not 0 <= size <= len(binary):
        message = f"binary_data_size is {size!r:.40}, but {len(binary)} bytes are left"
        raise bad_request("wrong_size", message, f"{where}.parameters.binary_data_size")
    return name, from_binary(binary[:size], datatype, shape, where), binary[size:]


def _from_json(given: dict[str, Any], datatype: str, shape: tuple[int, ...], where: str) -> Array:
    if "data" not in given:
        raise bad_request("missing_data", "a tensor must have data, or binary_data_size", f"{where}.data")
    if datatype == "BF16":
        raise bad_request("wrong_type", "BF16 has no JSON form; send it as binary data", f"{where}.datatype")
    return from_json(given["data"], datatype, shape, f"{where}.data")


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request("wrong_type", "must be an object", where)
    return value


def _wanted(settings: Settings, document: dict[str, Any], parameters: dict[str, Any], schema: Schema | None) -> Wanted:
    is_binary = parameters.get("binary_data_output") is True
    names = [spec.name for spec in schema.outputs] if schema else []
    asked = document.get("outputs") or []
    if not isinstance(asked, list):
        raise bad_request("wrong_type", "must be a list", "outputs")
    outputs = dict(_output(given, names, f"outputs[{i}]", is_binary=is_binary) for i, given in enumerate(asked))
    id_ = document.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise bad_request("wrong_type", "must be a string", "id")
    return Wanted(settings.model_name, settings.model_version, id_, outputs, is_binary, names)


def _output(given: Any, names: Sequence[str], where: str, *, is_binary: bool) -> tuple[str, bool]:
    given = _object(given, where)
    parameters = _object(given.get("parameters"), f"{where}.parameters")
    for unsupported_ in ("shared_memory_region", "classification"):
        if parameters.get(unsupported_):
            raise bad_request("unsupported_parameter", f"{unsupported_} is not supported", f"{where}.parameters")
    name = given.get("name")
    if not isinstance(name, str) or (names and name not in names):
        known = f"; the model has {', '.join(names)}" if names else ""
        raise bad_request("unknown_output", f"{name!r:.200} is no output{known}", f"{where}.name")
    return name, parameters.get("binary_data", is_binary) is True


# Its answer.


def encode_outputs(wanted: Wanted, prediction: Prediction) -> Answer:
    """JSON, with the bytes of what is wanted as such behind it."""
    arrays = _chosen(wanted, _by_name(wanted, prediction))
    tails = {name: to_binary(a) for name, a in arrays.items() if wanted.outputs.get(name, wanted.is_binary)}
    outputs = [_output_json(name, array, tails.get(name)) for name, array in arrays.items()]
    document = {"model_name": wanted.model, "model_version": wanted.version, "outputs": outputs}
    head = encode(document if wanted.id is None else {"id": wanted.id, **document})
    nonfinite = sum(nonfinite_in(array) for array in arrays.values())
    if not tails:
        return Answer(Encoded(head.body, nonfinite))
    body = b"".join((head.body, *tails.values()))
    return Answer(Encoded(body, nonfinite), OCTETS, {JSON_LENGTH: str(len(head.body))})


def _chosen(wanted: Wanted, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    missing = [name for name in wanted.outputs if name not in arrays]
    if missing:
        message = f"{missing[0]!r:.200} is no output; the model has {', '.join(arrays)}"
        raise bad_request("unknown_output", message, "outputs")
    return {name: arrays[name] for name in wanted.outputs} if wanted.outputs else arrays


def _by_name(wanted: Wanted, prediction: Prediction) -> dict[str, Array]:
    values = prediction.values
    if isinstance(values, Mapping):
        return {name: np.asarray(array) for name, array in values.items()}
    if isinstance(values, np.ndarray):
        return {wanted.names[0] if wanted.names else "output_0": values}
    return {PREDICTIONS: _listed_array(values)}


def _listed_array(values: Sequence[Any]) -> Array:
    """A handler's answers: an array where they are numbers of one shape, else one text each."""
    try:
        array = np.array(values)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind in "biuf" and array.ndim:
        return array
    return np.array([*map(_text, values), None], dtype=object)[:-1]


def _text(value: Any) -> bytes:
    return as_bytes(value) if isinstance(value, str | bytes | bytearray) else encode(value).body


def _output_json(name: str, array: Array, tail: bytes | None) -> dict[str, Any]:
    said: dict[str, Any] = {"name": name, "datatype": datatype_of(array.dtype.name), "shape": list(array.shape)}
    if tail is not None:
        return {**said, "parameters": {"binary_data_size": len(tail)}}
    flat = array.reshape(math.prod(array.shape))
    return {**said, "data": flat.tolist() if array.dtype.hasobject else flat}
