"""`{"instances": [...]}` to `{"predictions": [...]}`: what Vertex, KServe V1 and TF Serving agree on.

A body may also be an array (application/x-npy), or bytes where the model takes those; the answer is JSON or an array.
"""

from dataclasses import replace
from typing import Any

import orjson

from modelserver import npy
from modelserver.codec import Encoded, encode, loads, nonfinite_in
from modelserver.contracts import Answer, Call
from modelserver.contracts.signatures import named, reader_for
from modelserver.errors import RequestError
from modelserver.formats import Model
from modelserver.media import NPY, PARAMETERS, is_json, is_plain, media_type, refuse_encoding, unsupported, wants_npy
from modelserver.messages import JSON, Request
from modelserver.rows import Prediction, listed

# Beyond it no key of `{"instances": ...}` begins where the instances are numbers.
HEAD = 16
OTHER_KEYS = (b'"inputs"', b'"parameters"', b'"signature_name"')
FEW_QUOTES = 32


def parse(model: Model, request: Request) -> Call:
    """Rows from instances, of the signature that is meant where none is named."""
    if is_plain(request.headers) and has_instances_only(request.body):
        return Call(model.rows_of_instances(request.body, request.headers), encode_predictions)
    return _parse_any(model, request)


def has_instances_only(body: bytes) -> bool:
    """Say at the speed of memory whether nothing but `instances` can be said; False means to look again."""
    if body.find(b'"instances"', 0, HEAD) >= 0 and body.rfind(b'"', HEAD) < 0:
        return True
    return not _has_other_keys(body)


def _has_other_keys(body: bytes) -> bool:
    """From quote to quote, which are few where a picture is sent as base64; where they are many, all at once."""
    at = body.find(b'"')
    for _ in range(FEW_QUOTES):
        if at < 0:
            return False
        if body.startswith(OTHER_KEYS, at):
            return True
        at = body.find(b'"', at + 1)
    return any(key in body for key in OTHER_KEYS)


def _parse_any(model: Model, request: Request) -> Call:
    refuse_encoding(request.headers)
    as_npy = wants_npy(request.headers)
    if is_json(request.headers):
        return _parse_json(model, request, as_npy=as_npy)
    reader = reader_for(model, *named(request.headers))
    encode_as = encode_npy if as_npy else encode_predictions
    if media_type(request.headers) == NPY:
        return Call(reader.rows_of_tensors({"": npy.read(request.body)}, request.headers), encode_as)
    if not reader.takes_bytes:
        raise unsupported(request.headers, f"{JSON} and {NPY}")
    return Call(reader.rows_of_request(request.body, request.headers), encode_as)


def _parse_json(model: Model, request: Request, *, as_npy: bool) -> Call:
    body = request.body
    document = {} if has_instances_only(body) else loads(body)
    document = document if isinstance(document, dict) else {}
    parameters = document.get("parameters")
    reader = reader_for(model, *named(request.headers, document, parameters))
    if "inputs" in document and "instances" not in document:
        return Call(reader.rows_of_columns(body), encode_npy if as_npy else encode_columns)
    headers = _with_parameters(request, parameters).headers
    return Call(reader.rows_of_instances(body, headers), encode_npy if as_npy else encode_predictions)


def _with_parameters(request: Request, parameters: Any) -> Request:
    if parameters is None:
        return request
    return replace(request, headers={**request.headers, PARAMETERS: orjson.dumps(parameters).decode()})


def encode_predictions(prediction: Prediction) -> Answer:
    return Answer(encode({"predictions": listed(prediction.values)}))


def encode_columns(prediction: Prediction) -> Answer:
    return Answer(encode({"outputs": prediction.values}))


def encode_npy(prediction: Prediction) -> Answer:
    """An array of one row each; numbers that are not finite stay what they are, and are counted."""
    if isinstance(prediction.values, dict):
        names = ", ".join(prediction.values)
        raise RequestError(
            406, "not_acceptable", f"the answer has several arrays ({names}); accept {JSON}", where="accept"
        )
    return npy_answer(prediction.values)


def npy_answer(values: Any) -> Answer:
    return Answer(Encoded(npy.write(values), nonfinite_in(values)), NPY)
