"""Requests and responses as the gateway sees them, and errors as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson

from chalicelib.domain.errors import Rejected
from chalicelib.domain.predict_body import BadBody
from chalicelib.pipeline.records import ApiKey

Headers = Sequence[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
# Errors that people can mend, by their stable code; what isn't here is 400.
_STATUS = {"unauthenticated": 401, "forbidden": 403, "not_found": 404}
_NO_CONTENT = int(HTTPStatus.NO_CONTENT)  # a member is looked up anew each time
_LINES = {int(status): b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; of a repeated header `fields` holds the last.

    `body` is empty until all of it came; `caller` is None until the key was checked.
    """

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    caller: ApiKey | None = None
    fields: Mapping[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = dict(self.headers)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def get(self, name: bytes) -> str:
        """Return a header's value, "" where there is none."""
        return self.fields.get(name, b"").decode("latin-1")


@dataclass(slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: Headers = (JSON,)
    lines: bytes = b""  # more headers, as whole lines

    def encode_head(self, *, close: bool) -> bytes:
        """Return the status line and headers, up to and with the empty line."""
        lines = [_LINES.get(self.status) or b"HTTP/1.1 %d Unknown\r\n" % self.status]
        lines += [b"%s: %s\r\n" % pair for pair in self.headers]
        lines.append(self.lines)
        if self.status != _NO_CONTENT:
            lines.append(b"content-length: %d\r\n" % len(self.body))
        lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
        return b"".join(lines)


def error(status: int, code: str, message: str, *headers: tuple[bytes, bytes], where: str = "") -> Response:
    """Return an error in the one shape that every error of ours has."""
    problem = {"code": code, "message": message} | ({"where": where} if where else {})
    return Response(status, orjson.dumps({"error": problem}), (JSON, *headers))


def refusal(rejected: Rejected) -> Response:
    """Return what a caller is told about a mistake of theirs."""
    status = _STATUS.get(rejected.code, 400)
    challenge = ((b"www-authenticate", b"Bearer"),) if status == HTTPStatus.UNAUTHORIZED else ()
    where = rejected.where if isinstance(rejected, BadBody) else ""
    return error(status, rejected.code, str(rejected), *challenge, where=where)
