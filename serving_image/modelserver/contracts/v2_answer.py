"""The Open Inference Protocol's answer: JSON, with the bytes of what is wanted as such behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelserver.codec import Encoded, encode, nonfinite_in
from modelserver.contracts import Answer
from modelserver.errors import bad_request
from modelserver.media import OCTETS
from modelserver.rows import Array, Prediction
from modelserver.v2_wire import as_bytes, datatype_of, to_binary

JSON_LENGTH = "Inference-Header-Content-Length"
# The one output of a model that answers rows without names.
PREDICTIONS = "predictions"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An answer as the request asks for it: outputs by name (none: all), and whether each is binary."""

    model: str
    version: str
    id: str | None
    outputs: Mapping[str, bool]
    is_binary: bool
    names: Sequence[str]


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
