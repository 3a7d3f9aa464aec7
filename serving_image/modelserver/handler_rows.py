"""How a request becomes rows for a TorchServe handler, and how its answer becomes a response."""

from collections.abc import Mapping
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, cast
from urllib.parse import parse_qsl

import numpy as np

from modelserver.codec import fast_instances, instances_of, loads
from modelserver.errors import bad_request
from modelserver.rows import Array
from modelserver.tensors import decode_b64

Headers = dict[str, str]
ROW_KEYS = ("data", "body")


def instance_rows(body: bytes, *, bare: bool, arrays: bool) -> list[Any]:
    """One row an instance; `bare` (envelope json) leaves out the object around it."""
    instances = (fast_instances(body, "d") if arrays else None) if arrays else None
    values = instances_of(body) if instances is None else list(instances)
    return [_instance_row(value, i, bare=bare) for i, value in enumerate(values)]


def _instance_row(value: Any, i: int, *, bare: bool) -> Any:
    decoded = decoded_b64(value, f"instances[{i}]")
    if bare or (isinstance(decoded, dict) and any(key in decoded for key in ROW_KEYS)):
        return decoded
    return {"data": decoded}


def decoded_b64(value: Any, where: str) -> Any:
    """`{"b64": text}` becomes bytes, at the top of an instance or one level inside."""
    if not isinstance(value, dict):
        return value
    if list(value) == ["b64"]:
        return decode_b64(value["b64"], where)
    return {key: decoded_b64(item, f"{where}.{key}") if _is_b64(item) else item for key, item in value.items()}


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"]


def native_row(body: bytes, headers: Headers, *, arrays: bool) -> dict[str, Any]:
    """One row a request, as TorchServe makes it: form fields by name, else the body under `body`."""
    kind = headers.get("content-type", "").split(";", 1)[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(body, headers["content-type"])
    if kind == "application/x-www-form-urlencoded":
        # As bytes, like a multipart field of no type: handlers written for TorchServe decode them.
        return {name: bytearray(value.encode()) for name, value in form_fields(body).items()}
    return {"body": _parsed(body, kind, arrays=arrays, where="body")}


def form_fields(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def tensor_rows(tensors: Mapping[str, Array], *, bare: bool, arrays: bool) -> list[Any]:
    """One row for each entry of the first axis: `{"data": x}` of one tensor, an object by name of several."""
    columns = {name: _entries(array, arrays=arrays) for name, array in tensors.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise bad_request("ragged", "the inputs differ in the length of their first axis", "inputs")
    if len(columns) == 1:
        (values,) = columns.values()
        return values if bare else [{"data": value} for value in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _entries(array: Array, *, arrays: bool) -> list[Any]:
    if not array.ndim:
        raise bad_request("wrong_shape", "a tensor needs a first axis: one entry a row", "inputs")
    return list(array) if arrays else cast("list[Any]", array.tolist())


def _parsed(body: bytes, kind: str, *, arrays: bool = False, where: str) -> Any:
    """JSON is parsed and text decoded before the handler sees it; anything else stays bytes."""
    if kind == "application/json":
        value = loads(body)
        return _as_array(value) if arrays else value
    if kind.startswith("text/"):
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise bad_request("bad_text", f"{kind} must be UTF-8: {error}", where) from None
    return bytearray(body)


def _as_array(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    try:
        array = np.array(value)
    except ValueError:
        return value
    return array if array.dtype.kind in "fiub" else value


def _multipart(body: bytes, content_type: str) -> dict[str, Any]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise bad_request("malformed_form", "the multipart body has no parts; check its boundary", "body")
    return {_field_name(part): _field(part) for part in message.walk() if not part.is_multipart()}


def _field_name(part: "Message[str, str]") -> str:
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise bad_request("malformed_form", "a part of the form has no name", "body")
    return name


def _field(part: "Message[str, str]") -> Any:
    content: Any = part.get_payload(decode=True)
    kind = part.get_content_type() if part["content-type"] else ""
    return _parsed(bytes(content), kind, where=_field_name(part))
