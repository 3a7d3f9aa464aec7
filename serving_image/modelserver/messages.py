"""Requests and responses, apart from how they travel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from modelserver.errors import RequestError

JSON = "application/json"
DIGEST = "X-Modeldrop-Digest"
NONFINITE = "X-Modeldrop-Nonfinite"
STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One HTTP request; header names are lower case. `read_s` is how long it took to arrive."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    read_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def serialized(self, *, keep_alive: bool, with_body: bool = True) -> bytes:
        """The bytes of an HTTP/1.1 response; without its body for HEAD."""
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        close = "" if keep_alive else "connection: close\r\n"
        head = f"content-type: {self.content_type}\r\ncontent-length: {len(self.body)}\r\n{extra}{close}\r\n"
        return status_line(self.status) + head.encode("latin-1", "replace") + (self.body if with_body else b"")


def status_line(status: int) -> bytes:
    """A model may choose a status that has no name."""
    return STATUS_LINES.get(status) or f"HTTP/1.1 {status} -\r\n".encode()


def json_response(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, orjson.dumps(document), JSON, headers or {})


def error_response(error: RequestError, headers: Mapping[str, str] | None = None) -> Response:
    retry = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return json_response(error.status, error.as_json(), {**(headers or {}), **retry})
