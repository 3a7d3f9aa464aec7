"""NumPy's file format as a body. It is read by hand: numpy.load makes room for what the header claims."""

import ast
import io
import math
import re
from typing import Any

import numpy as np

from modelserver.errors import RequestError, bad_request
from modelserver.rows import Array

MAGIC = b"\x93NUMPY"
MAX_HEADER = 4096
MAX_RANK = 32
DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,6})")
# What ast.literal_eval raises for a text that is no literal.
NOT_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read(body: bytes) -> Array:
    """Return the array of a .npy file, text as objects (bytes); raise 400 that says what is wrong."""
    header, start = _header(body)
    kind, shape, is_fortran = _layout(header)
    dtype = np.dtype(kind)
    if len(body) - start != math.prod(shape) * dtype.itemsize:
        given = f"{len(body) - start} bytes of values"
        raise bad_request("bad_npy", f"the body holds {given}, not an array of shape {list(shape)} and {dtype}", "body")
    if 0 in shape:
        raise bad_request("bad_npy", f"an array of shape {list(shape)} holds no values", "body")
    array = np.frombuffer(body, dtype, offset=start).reshape(shape, order="F" if is_fortran else "C")
    if dtype.kind == "b":
        return array.view("u1").astype(bool)
    return _as_bytes(array) if dtype.kind in "SU" else array.astype(dtype.newbyteorder("="), copy=False)


def _header(body: bytes) -> tuple[str, int]:
    size = 2 if body[6:7] == b"\1" else 4
    start = 8 + size
    length = int.from_bytes(body[8:start], "little")
    if not body.startswith(MAGIC) or body[6:7] not in (b"\1", b"\2", b"\3") or len(body) < start + length:
        raise bad_request("bad_npy", "the body is no .npy file", "body")
    if length > MAX_HEADER:
        raise bad_request("bad_npy", f"the .npy header is larger than {MAX_HEADER} bytes", "body")
    return body[start : start + length].decode("latin-1"), start + length


def _layout(header: str) -> tuple[str, tuple[int, ...], bool]:
    try:
        said: Any = ast.literal_eval(header.strip())
    except NOT_LITERAL:
        said = None
    if not isinstance(said, dict) or {"descr", "fortran_order", "shape"} != set(said):
        raise bad_request("bad_npy", "the .npy header cannot be read", "body")
    kind, shape = said["descr"], said["shape"]
    if not isinstance(kind, str) or not DTYPE.fullmatch(kind):
        raise bad_request("bad_npy", f"arrays of {kind!r:.80} are not taken; send numbers, booleans or text", "body")
    if not _is_shape(shape):
        raise bad_request("bad_npy", f"the .npy header has the shape {shape!r:.80}", "body")
    return kind, shape, said["fortran_order"] is True


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) <= MAX_RANK and all(type(n) is int and n >= 0 for n in shape)


def _as_bytes(array: Array) -> Array:
    texts = [_encoded(value) for value in array.ravel()]
    return np.array([*texts, None], dtype=object)[:-1].reshape(array.shape)


def _encoded(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def write(values: Any) -> bytes:
    """A .npy file of numbers; raise 406 where the answer is none."""
    array = np.asarray(values.tolist() if _is_foreign(values) else values)
    if array.dtype.kind not in "biuf":
        raise RequestError(
            406, "not_acceptable", "the answer is no array of numbers; accept application/json", where="accept"
        )
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _is_foreign(values: Any) -> bool:
    """Tensors of others say their values themselves."""
    return hasattr(values, "tolist") and not isinstance(values, np.ndarray)
