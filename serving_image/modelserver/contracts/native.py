"""One row a request, answered as the handler said it: TorchServe's own contract."""

from modelserver.codec import Encoded, encode
from modelserver.contracts import Answer, Call, instances
from modelserver.formats import Model
from modelserver.messages import JSON, Request
from modelserver.rows import Prediction, listed


def parse(model: Model, request: Request) -> Call:
    """A model that has no rows of its own takes instances here too."""
    if not model.takes_native_rows:
        return instances.parse(model, request)
    return Call(model.rows_of_request(request.body, request.headers), encode_row)


def encode_row(prediction: Prediction) -> Answer:
    """Bytes and text leave as they are, everything else as JSON; a handler may name the type itself."""
    value = listed(prediction.values)[0]
    kind = prediction.headers.get("content-type")
    if isinstance(value, bytes | bytearray):
        return Answer(Encoded(bytes(value)), kind or "application/octet-stream")
    if isinstance(value, str):
        return Answer(Encoded(value.encode()), kind or "text/plain; charset=utf-8")
    return Answer(encode(value), kind or JSON)
