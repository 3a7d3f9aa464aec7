"""The Open Inference Protocol's request: tensors by name, each as JSON or as bytes behind the JSON."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from modelserver.codec import loads
from modelserver.contracts import Call
from modelserver.contracts.signatures import NAME, named, reader_for
from modelserver.contracts.v2_answer import JSON_LENGTH, Wanted, encode_outputs
from modelserver.errors import bad_request
from modelserver.formats import Model
from modelserver.media import OCTETS, PARAMETERS, is_json, media_type, refuse_encoding, unsupported
from modelserver.messages import JSON, Request
from modelserver.rows import Array
from modelserver.schema import Schema
from modelserver.settings import Settings
from modelserver.v2_wire import TYPES, from_binary, from_json, shape_of

# Says of all outputs that they are wanted as bytes.
BINARY_OUTPUT = "binary_data_output"


def parse(settings: Settings, model: Model, request: Request) -> Call:
    """Rows from tensors by name; `parameters.signature_name` chooses among a SavedModel's signatures."""
    refuse_encoding(request.headers)
    document, binary = _parts(request)
    parameters = _object(document.get("parameters"), "parameters")
    name, where = named(request.headers, parameters)
    reader = reader_for(model, name, f"parameters.{where}" if where == NAME else where)
    rows = reader.rows_of_tensors(_tensors(document.get("inputs"), binary), _with_parameters(request, parameters))
    wanted = _wanted(settings, document, parameters, reader.schema)
    return Call(rows, partial(encode_outputs, wanted))


def _with_parameters(request: Request, parameters: dict[str, Any]) -> dict[str, str]:
    """The headers, with the parameters that are the model's own."""
    own = {name: value for name, value in parameters.items() if name != BINARY_OUTPUT}
    return {**request.headers, PARAMETERS: orjson.dumps(own).decode()} if own else request.headers


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
    is_binary = parameters.get(BINARY_OUTPUT) is True
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
