"""One row a request, answered as the handler said it: TorchServe's own contract."""

import io
import sys
from typing import Any

from modelserver.codec import Encoded, encode
from modelserver.contracts import Answer, Call, instances
from modelserver.formats import Model
from modelserver.media import NPY, OCTETS, is_json, refuse_encoding
from modelserver.messages import JSON, Request
from modelserver.rows import Prediction, listed


def parse(model: Model, request: Request) -> Call:
    """A model that has no rows of its own takes instances here too, as does one for what is neither JSON nor a row."""
    if not model.takes_native_rows or not (model.takes_bytes or is_json(request.headers)):
        return instances.parse(model, request)
    refuse_encoding(request.headers)
    # A handler says its type itself, unless a client takes nothing but an array.
    encode_as = encode_npy_row if request.headers.get("accept", "").strip().lower() == NPY else encode_row
    return Call(model.rows_of_request(request.body, request.headers), encode_as)


def encode_row(prediction: Prediction) -> Answer:
    """Bytes and text leave as they are, everything else as JSON; a handler may name the type itself."""
    value = listed(prediction.values)[0]
    kind = prediction.headers.get("content-type")
    if isinstance(value, bytes | bytearray):
        return Answer(Encoded(bytes(value)), kind or OCTETS)
    if is_tensor(value):
        return Answer(Encoded(saved(value)), kind or OCTETS)
    if isinstance(value, str):
        return Answer(Encoded(value.encode()), kind or "text/plain; charset=utf-8")
    return Answer(encode(value), kind or JSON)


def is_tensor(value: Any) -> bool:
    """Say whether it is Torch's, without loading Torch for those who don't use it."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def saved(tensor: Any) -> bytes:
    """Write a tensor as TorchServe answers with one: by `torch.save`."""
    out = io.BytesIO()
    sys.modules["torch"].save(tensor, out)
    return out.getvalue()


def encode_npy_row(prediction: Prediction) -> Answer:
    return instances.npy_answer(listed(prediction.values)[0])
