"""Instances to tensors that match a schema, or a 400 that names the value that does not."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from modelserver.codec import fast_instances, instances_of, loads
from modelserver.errors import RequestError, bad_request
from modelserver.rows import Array, TensorRows
from modelserver.schema import Schema, Shape, TensorSpec

# bfloat16 has no NumPy type of its own; the loader casts.
WIDENED = {"bfloat16": "float32"}
# Which kinds of NumPy's types may become which: whole numbers become floats, never the other way.
ALLOWED = {"f": "fiu", "i": "iu", "u": "iu", "b": "b", "O": "O", "c": "fiuc"}
KINDS: dict[str, Literal["d", "i"]] = {"f": "d", "i": "i", "u": "i"}


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """TensorFlow's dtype name as NumPy's; strings are objects (bytes)."""
    return np.dtype(object) if dtype == "string" else np.dtype(WIDENED.get(dtype, dtype))


def rows_from_instances(body: bytes, schema: Schema, signature: str = "") -> TensorRows:
    """Row format: `{"instances": [x, ...]}`, or objects by input name when there are several inputs."""
    if len(schema.inputs) == 1 and (fast := _fast(body, schema, signature)) is not None:
        return fast
    instances = instances_of(body)
    if single := [spec.name for spec in schema.inputs if spec.shape == ()]:
        raise bad_request("no_rows", f'{", ".join(single)} is one value for a whole call; send "inputs"', "instances")
    columns = {spec.name: _column(instances, spec, schema) for spec in schema.inputs}
    inputs = {
        spec.name: tensor(values, spec, paths) for spec in schema.inputs for values, paths in [columns[spec.name]]
    }
    return TensorRows(inputs, len(instances), schema.batchable, signature)


def rows_from_columns(body: bytes, schema: Schema, signature: str = "") -> TensorRows:
    """Column format: `{"inputs": X}` or `{"inputs": {NAME: X}}`, whole tensors with their batch axis."""
    given = loads(body)["inputs"]
    named = given if isinstance(given, dict) and "b64" not in given else {schema.inputs[0].name: given}
    _same_names(named, schema, "inputs")
    inputs = {
        spec.name: tensor(named[spec.name], spec, f"inputs.{spec.name}" if named is given else "inputs")
        for spec in schema.inputs
    }
    return _whole_rows(inputs, schema, signature)


def rows_from_tensors(tensors: Mapping[str, Array], schema: Schema, signature: str = "") -> TensorRows:
    """Tensors that came as arrays: cast where every value fits the schema's type, never reshaped.

    A lone array may come without a name.
    """
    if list(tensors) == [""] and len(schema.inputs) == 1:
        tensors = {schema.inputs[0].name: tensors[""]}
    _same_names(dict(tensors), schema, "inputs")
    inputs = {spec.name: _checked(tensors[spec.name], spec) for spec in schema.inputs}
    return _whole_rows(inputs, schema, signature)


def _checked(array: Array, spec: TensorSpec) -> Array:
    where = f"inputs.{spec.name}"
    dtype = numpy_dtype(spec.dtype)
    if array.dtype.kind not in ALLOWED[dtype.kind]:
        raise bad_request("wrong_type", f"expected {spec.dtype}, got {array.dtype}", where)
    if not _fits(array.shape, spec.shape):
        message = f"expected shape {_shown(spec.shape or ())}, got {_shown(array.shape)}"
        raise bad_request("wrong_shape", message, where)
    return _cast(array, dtype, where)


def _whole_rows(inputs: Mapping[str, Array], schema: Schema, signature: str) -> TensorRows:
    if not schema.batchable:
        return TensorRows(inputs, 1, batchable=False, signature=signature, is_whole=True)
    counts = {array.shape[:1] for array in inputs.values()}
    if len(counts) > 1:
        raise bad_request("ragged", "the inputs differ in the length of their first axis", "inputs")
    length = next(iter(counts))
    if length == (0,):
        raise bad_request("wrong_shape", "expected at least one row", "inputs")
    return TensorRows(inputs, length[0] if length else 1, bool(length), signature, is_whole=True)


def _fast(body: bytes, schema: Schema, signature: str) -> TensorRows | None:
    spec = schema.inputs[0]
    dtype = numpy_dtype(spec.dtype)
    array = fast_instances(body, KINDS[dtype.kind]) if dtype.kind in KINDS else None
    if array is None or not _fits(array.shape, spec.shape):
        return None
    try:
        return TensorRows({spec.name: _cast(array, dtype, "instances")}, len(array), schema.batchable, signature)
    except RequestError:
        return None  # the slow way finds which instance it was


def _column(instances: Sequence[Any], spec: TensorSpec, schema: Schema) -> tuple[list[Any], str]:
    """One input's value in every instance, with the suffix that names it in an error."""
    if len(schema.inputs) == 1:
        values = [_unwrapped(instance, spec.name) for instance in instances]
        return values, "instances"
    for i, instance in enumerate(instances):
        _same_names(instance, schema, f"instances[{i}]")
    return [instance[spec.name] for instance in instances], f"instances[*].{spec.name}"


def _unwrapped(instance: Any, name: str) -> Any:
    """Take `{NAME: x}` for x where a model has but one input."""
    return instance[name] if isinstance(instance, dict) and list(instance) == [name] else instance


def _same_names(value: Any, schema: Schema, where: str) -> None:
    names = [spec.name for spec in schema.inputs]
    if not isinstance(value, dict):
        raise bad_request("wrong_type", f"must be an object with {', '.join(names)}", where)
    for name in names:
        if name not in value:
            raise bad_request("missing_input", f"input {name!r} is missing; the model takes {', '.join(names)}", where)
    for name in value:
        if name not in names:
            raise bad_request("unknown_input", f"{name!r} is no input; the model takes {', '.join(names)}", where)


def tensor(values: Any, spec: TensorSpec, where: str) -> Array:
    """Make one array of the schema's type and shape; raise 400 naming the first value that is wrong."""
    dtype = numpy_dtype(spec.dtype)
    if dtype.hasobject:
        values = _as_bytes(values, where)
    array = _uniform(values, dtype)
    if array is None or not _fits(array.shape, spec.shape):
        raise first_mismatch(values, spec, where)
    return _cast(array, dtype, where)


def _uniform(values: Any, dtype: np.dtype[Any]) -> Array | None:
    """Build an array, or None where lengths differ or a value is not of the kind that is wanted."""
    try:
        array = np.array(values, dtype=object if dtype.hasobject else None)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in ALLOWED[dtype.kind] and not _holds_lists(array) else None


def _holds_lists(array: Array) -> bool:
    return array.dtype.hasobject and any(isinstance(value, list) for value in array.flat)


def _cast(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    """Cast to the schema's type; raise where a number does not fit it."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if (np.isfinite(cast) if dtype.kind == "f" else cast == array).all():
        return cast
    wrong = np.isfinite(array) & ~np.isfinite(cast) if dtype.kind == "f" else cast != array
    if wrong.any():
        bad = np.argwhere(wrong)[0]
        raise bad_request("out_of_range", f"{array[tuple(bad)]} does not fit {dtype}", place(where, bad))
    return cast


def _fits(shape: tuple[int, ...], wanted: Shape | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(w is None or w == s for s, w in zip(shape, wanted, strict=True))


def place(where: str, index: Iterable[int]) -> str:
    """Name one value of a column: `instances[*].ids` at 1, 0 is `instances[1].ids[0]`."""
    for i in index:
        where = where.replace("[*]", f"[{i}]") if "[*]" in where else f"{where}[{i}]"
    return where


def _as_bytes(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return [_as_bytes(item, place(where, [i])) for i, item in enumerate(value)]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and list(value) == ["b64"]:
        return decode_b64(value["b64"], where)
    raise bad_request("wrong_type", f'expected a string or {{"b64": ...}}, got {kind_of(value)}', where)


def decode_b64(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise bad_request("bad_base64", f"b64 cannot be decoded: {error}", where) from None


def first_mismatch(values: Any, spec: TensorSpec, where: str) -> RequestError:
    """Find the first place that does not match, and say what was expected there."""
    kind = numpy_dtype(spec.dtype).kind
    shape = spec.shape if spec.shape is not None else tuple(None for _ in _depths(values))
    return _walk(values, shape, kind, where) or bad_request(
        "wrong_shape", f"input {spec.name!r} must be {spec.dtype} of shape {_shown(shape)}", where
    )


def _walk(value: Any, shape: Shape, kind: str, where: str) -> RequestError | None:
    if not shape:
        return _scalar_mismatch(value, kind, where)
    if not isinstance(value, list):
        return bad_request("wrong_shape", f"expected a list of shape {_shown(shape)}, got {kind_of(value)}", where)
    if shape[0] is not None and len(value) != shape[0]:
        return bad_request("wrong_shape", f"expected {shape[0]} values, got {len(value)}", where)
    rest = _resolved(value, shape[1:])
    found = (_walk(item, rest, kind, place(where, [i])) for i, item in enumerate(value))
    return next((error for error in found if error), None)


def _resolved(value: list[Any], shape: Shape) -> Shape:
    """A free axis has the length that the first instance gives it."""
    first = value[0] if value else None
    if shape and shape[0] is None and isinstance(first, list):
        return (len(first), *shape[1:])
    return shape


def _scalar_mismatch(value: Any, kind: str, where: str) -> RequestError | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    right = {"f": number, "i": number and isinstance(value, int), "u": number and isinstance(value, int),
             "b": isinstance(value, bool), "O": isinstance(value, bytes)}[kind]  # fmt: skip
    if right:
        return None
    expected = {"f": "a number", "i": "an integer", "u": "an integer", "b": "true or false", "O": "a string"}[kind]
    code = "wrong_shape" if isinstance(value, list) else "wrong_type"
    return bad_request(code, f"expected {expected}, got {kind_of(value)}", where)


def kind_of(value: Any) -> str:
    """JSON's word for a value."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = {dict: "an object", str: "a string", bytes: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value)) or f"the number {value}"


def _depths(value: Any) -> list[int]:
    depths: list[int] = []
    while isinstance(value, list) and value:
        depths.append(len(value))
        value = value[0]
    return depths or [0]


def _shown(shape: Shape) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"
