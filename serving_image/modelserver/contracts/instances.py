"""`{"instances": [...]}` to `{"predictions": [...]}`: what Vertex, KServe V1 and TF Serving agree on."""

from modelserver.codec import encode, loads
from modelserver.contracts import Answer, Call
from modelserver.formats import Model
from modelserver.messages import Request
from modelserver.rows import Prediction, listed


def parse(model: Model, request: Request) -> Call:
    """Rows from instances; TF Serving's column format where the body has `inputs` instead."""
    if b'"inputs"' in request.body and b'"instances"' not in request.body and _has_columns(request.body):
        return Call(model.rows_of_columns(request.body), encode_columns)
    return Call(model.rows_of_instances(request.body, request.headers), encode_predictions)


def _has_columns(body: bytes) -> bool:
    document = loads(body)
    return isinstance(document, dict) and "inputs" in document and "instances" not in document


def encode_predictions(prediction: Prediction) -> Answer:
    return Answer(encode({"predictions": listed(prediction.values)}))


def encode_columns(prediction: Prediction) -> Answer:
    return Answer(encode({"outputs": prediction.values}))
