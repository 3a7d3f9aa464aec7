"""Tensors as the Open Inference Protocol writes them: JSON lists, or bytes behind the JSON.

Binary numbers are little-endian and row-major; of BYTES each element follows its length in four bytes.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from modelserver.errors import bad_request
from modelserver.rows import Array

TYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "object", "BF16": "float32",
}  # fmt: skip
NAMES = {name: datatype for datatype, name in TYPES.items() if datatype != "BF16"} | {
    "string": "BYTES",
    "bfloat16": "FP32",
}
MAX_RANK = 32
LENGTH = 4


def datatype_of(dtype: str) -> str:
    """The protocol's name of a NumPy or TensorFlow type; what it has no name for is BYTES."""
    return NAMES.get(dtype, "BYTES")


def shape_of(given: Any, where: str) -> tuple[int, ...]:
    """Check a shape; an empty axis would let a client claim any number of rows."""
    if not isinstance(given, list) or len(given) > MAX_RANK or any(type(n) is not int or n < 1 for n in given):
        raise bad_request("bad_shape", "shape must be a list of whole numbers above 0", where)
    return tuple(given)


def from_json(data: Any, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    """An array of values that come flat or nested, in row-major order."""
    flat = _flat(data, shape, where)
    if datatype == "BYTES":
        return _objects(_texts(flat, where), shape)
    dtype = np.dtype(TYPES[datatype])
    try:
        array = np.array(flat)
    except (ValueError, OverflowError):
        array = np.array(None)
    if array.size != math.prod(shape):
        raise bad_request(
            "wrong_shape", f"expected {math.prod(shape)} values for shape {list(shape)}, got {array.size}", where
        )
    allowed = {"b": "b", "f": "fiu"}.get(dtype.kind, "iu")
    if array.dtype.kind not in allowed:
        raise bad_request("wrong_type", f"expected values of {datatype}", where)
    return _narrowed(array, dtype, datatype, where).reshape(shape)


def _narrowed(array: Array, dtype: np.dtype[Any], datatype: str, where: str) -> Array:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if not (np.isfinite(cast) if dtype.kind == "f" else cast == array).all():
        raise bad_request("out_of_range", f"a value does not fit {datatype}", where)
    return cast


def _flat(given: Any, shape: tuple[int, ...], where: str) -> list[Any]:
    if not isinstance(given, list):
        raise bad_request("wrong_type", "data must be a list", where)
    data: list[Any] = given
    for _ in shape[1:]:
        if not data or not all(isinstance(item, list) for item in data):
            break
        data = [value for item in data for value in item]
    return data


def _texts(flat: list[Any], where: str) -> Iterator[bytes]:
    for i, value in enumerate(flat):
        if not isinstance(value, str):
            raise bad_request("wrong_type", "expected a string", f"{where}[{i}]")
        yield value.encode("utf-8", "replace")


def _objects(values: Iterator[bytes], shape: tuple[int, ...], where: str = "data") -> Array:
    array = np.array([*values, None], dtype=object)[:-1]
    if array.size != math.prod(shape):
        message = f"expected {math.prod(shape)} elements for shape {list(shape)}, got {array.size}"
        raise bad_request("wrong_shape", message, where)
    return array.reshape(shape)


def from_binary(data: memoryview, datatype: str, shape: tuple[int, ...], where: str) -> Array:
    if datatype == "BYTES":
        return _objects(_elements(data, where), shape, where)
    size = 2 if datatype == "BF16" else np.dtype(TYPES[datatype]).itemsize
    if len(data) != math.prod(shape) * size:
        message = f"{datatype} of shape {list(shape)} are {math.prod(shape) * size} bytes, not {len(data)}"
        raise bad_request("wrong_size", message, where)
    if datatype == "BF16":
        widened: Array = np.frombuffer(data, "<u2").astype("<u4") << 16
        return widened.view("<f4").reshape(shape)
    if datatype == "BOOL":
        return np.frombuffer(data, "u1").reshape(shape).astype(bool)
    return np.frombuffer(data, np.dtype(TYPES[datatype]).newbyteorder("<")).reshape(shape)


def _elements(data: memoryview, where: str) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        start = at + LENGTH
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data) or start > len(data):
            raise bad_request("wrong_size", "an element of BYTES is longer than what was sent", where)
        yield bytes(data[start:at])


def to_binary(array: Array) -> bytes:
    if array.dtype.hasobject:
        return b"".join(len(value).to_bytes(LENGTH, "little") + value for value in map(as_bytes, array.ravel()))
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def as_bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode("utf-8", "replace")
