"""Warm-up requests as TensorFlow Serving keeps them in a SavedModel: a TFRecord of PredictionLog messages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from modelserver.errors import LoadError
from modelserver.rows import Array

FILE = "assets.extra/tf_serving_warmup_requests"
# PredictionLog's kinds that aren't calls of a signature with tensors, by their fields' numbers.
OTHER_KINDS = {2: "classify", 3: "regress", 4: "multi_inference", 5: "session_run", 7: "predict_streamed"}
PACKAGE = "modelserver.recorded"
# By field number, its name and message; a string has none, `*` is repeated. A map is its entries.
MESSAGES = {
    "ModelSpec": {3: ("signature_name", "")},
    "Input": {1: ("key", ""), 2: ("value", "tensorflow.TensorProto")},
    "Request": {1: ("model_spec", f"{PACKAGE}.ModelSpec"), 2: ("inputs", f"*{PACKAGE}.Input")},
    "Predict": {1: ("request", f"{PACKAGE}.Request")},
    "Other": {},
    "PredictionLog": {
        6: ("predict", f"{PACKAGE}.Predict"),
        **{number: (name, f"{PACKAGE}.Other") for number, name in OTHER_KINDS.items()},
    },
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request: `inputs` by name, or the kind that can't be replayed."""

    number: int
    signature: str
    inputs: Mapping[str, Array]
    kind: str = "predict"


def recorded(tf: Any, folder: Path) -> Iterator[Recorded]:
    """Read every record; raise LoadError that names the one which is broken."""
    path = folder / FILE
    if not path.is_file():
        return
    number = 0
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    while True:
        number += 1
        try:
            record = next(records, None)
        except tf.errors.OpError as error:
            raise LoadError(f"{FILE} record {number} cannot be read: {error.message}") from error
        if record is None:
            return
        yield _parsed(tf, record, number)


def _parsed(tf: Any, record: bytes, number: int) -> Recorded:
    log = prediction_log()()
    try:
        log.ParseFromString(record)
    except _protobuf("message").DecodeError as error:
        raise LoadError(f"{FILE} record {number} is no PredictionLog: {error}") from error
    kind = next((name for name in OTHER_KINDS.values() if log.HasField(name)), "predict")
    request = log.predict.request
    if kind == "predict" and not request.inputs:
        raise LoadError(f"{FILE} record {number} holds no request")
    try:
        inputs = {entry.key: tf.make_ndarray(entry.value) for entry in request.inputs}
    except (TypeError, ValueError) as error:
        raise LoadError(f"{FILE} record {number} has a tensor that cannot be read: {error}") from error
    return Recorded(number, request.model_spec.signature_name, inputs, kind)


@cache
def prediction_log() -> Any:
    """Make the message's class of the few fields that are read: TensorFlow Serving's own package isn't needed."""
    from tensorflow.core.framework import tensor_pb2  # noqa: PLC0415 - registers TensorProto

    file = _protobuf("descriptor_pb2").FileDescriptorProto(
        name="modelserver/prediction_log.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[tensor_pb2.DESCRIPTOR.name],
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in fields.items():
            label = 3 if kind.startswith("*") else 1  # repeated, or at most one
            what = {"type": 11, "type_name": "." + kind.removeprefix("*")} if kind else {"type": 9}
            message.field.add(name=field, number=number, label=label, **what)
    pool = _protobuf("descriptor_pool").Default()
    pool.AddSerializedFile(file.SerializeToString())
    return _protobuf("message_factory").GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.PredictionLog"))


def _protobuf(module: str) -> Any:
    """It comes with TensorFlow, and only then is it here."""
    return import_module(f"google.protobuf.{module}")
