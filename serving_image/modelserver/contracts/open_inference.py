"""Open Inference Protocol V2, as KServe and Triton speak it: `/v2`, health, metadata, and `infer` with JSON or binary.

A handler gets one row for each entry of the first axis: `{"data": x}` of one input, an object by name of several. What
it answers is the one output `predictions`: numbers and booleans as such, text as BYTES, anything else as BYTES of JSON.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from modelserver.context import SERVER_NAME, SERVER_VERSION
from modelserver.contracts import ControlRoute, PredictRoute, Route, Standing
from modelserver.contracts.v2_answer import PREDICTIONS
from modelserver.contracts.v2_request import parse
from modelserver.errors import RequestError
from modelserver.messages import Request, Response, json_response
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings
from modelserver.v2_wire import datatype_of

ROOT = "/v2"
PLATFORMS = {"saved_model": "tensorflow_savedmodel", "torch_archive": "pytorch_torchserve"}
# What a model that does not say its tensors takes and answers, so that a client has something to go by.
UNSAID = Schema((TensorSpec("data", "string", (None,)),), (TensorSpec(PREDICTIONS, "string", (None,)),))


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


def with_plain_error(request: Request, response: Response) -> Response:
    """The protocol's error is one string; code and place stand beside it."""
    if not request.path.startswith(ROOT) or not response.body.startswith(b'{"error":{'):
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
