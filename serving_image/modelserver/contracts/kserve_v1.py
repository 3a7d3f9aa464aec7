"""TF Serving's REST API and KServe's V1: `/v1/models/NAME`, its versions, its metadata, and `:predict`.

`:classify` and `:regress` take `tf.Example`s, which nothing here makes: they are answered by what to use instead.
"""

from functools import partial
from typing import Any

from modelserver.contracts import ControlRoute, PredictRoute, Route, Standing, instances
from modelserver.errors import RequestError
from modelserver.messages import Response, json_response
from modelserver.schema import Schema, TensorSpec
from modelserver.settings import Settings

MODELS = "/v1/models"
STATES = {"loading": "LOADING", "ready": "AVAILABLE", "draining": "UNLOADING"}
# TensorFlow's own names of its types; the others are the name in capitals.
TYPES = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}
EXAMPLES = (":classify", ":regress")


def routes(settings: Settings) -> list[Route]:
    base = f"{MODELS}/{settings.model_name}"
    both = (base, f"{base}/versions/{settings.model_version}")
    return [
        ControlRoute(MODELS, partial(_list, settings)),
        *(ControlRoute(path, partial(_status, settings)) for path in both),
        *(ControlRoute(f"{path}/metadata", partial(_metadata, settings)) for path in both),
        *(PredictRoute(f"{path}:predict", instances.parse) for path in both),
    ]


def absent(settings: Settings, path: str) -> RequestError | None:
    """Say what is not there of what is ours to say: a model, a version, a method."""
    if not path.startswith(f"{MODELS}/"):
        return None
    name, _, rest = path.removeprefix(f"{MODELS}/").partition("/")
    model, colon, _ = name.partition(":")
    if model != settings.model_name:
        message = f"the model {model[:200]!r} is not here; this server has {settings.model_name!r}"
        return RequestError(404, "unknown_model", message)
    if path.endswith(EXAMPLES):
        message = f"{path.rpartition(':')[2]} is not supported; call the signature with {settings.model_name}:predict"
        return RequestError(404, "unsupported_method", f'{message} and "signature_name"')
    version = rest.removeprefix("versions/").partition("/")[0].partition(":")[0]
    if not colon and rest.startswith("versions/") and version != settings.model_version:
        message = f"version {version[:200]!r} is not here; this server has {settings.model_version!r}"
        return RequestError(404, "unknown_version", message)
    return None


def _list(settings: Settings, standing: Standing) -> Response:
    del standing
    return json_response(200, {"models": [settings.model_name]})


def _status(settings: Settings, standing: Standing) -> Response:
    """TF Serving's status, which lists versions, and KServe's, which says whether the model is ready."""
    status = {"error_code": "OK", "error_message": ""}
    version = {"version": settings.model_version, "state": STATES[standing.state], "status": status}
    document = {"name": settings.model_name, "ready": standing.is_ready, "model_version_status": [version]}
    return json_response(200 if standing.is_ready else 503, document)


def _metadata(settings: Settings, standing: Standing) -> Response:
    """Signatures as TF Serving says them; a model that is no SavedModel has none."""
    if standing.model is None:
        return json_response(503, RequestError(503, "not_ready", "the model is still loading").as_json())
    signatures = {name: _signature(s.schema) for name, s in standing.model.signatures.items()}
    spec = {"name": settings.model_name, "signature_name": "", "version": settings.model_version}
    return json_response(200, {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}})


def _signature(schema: Schema) -> dict[str, Any]:
    inputs, outputs = ({t.name: _tensor(t) for t in side} for side in (schema.inputs, schema.outputs))
    return {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict"}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(-1 if n is None else n), "name": ""} for n in spec.shape or ()]
    shape = {"dim": dims, "unknown_rank": spec.shape is None}
    return {"dtype": TYPES.get(spec.dtype, f"DT_{spec.dtype.upper()}"), "tensor_shape": shape, "name": spec.name}
