"""As much HTTP/1.1 as passing on takes: whole messages from streams, within limits of size."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = 2**16  # bytes
_MOST = 64 * 2**20  # bytes of a body: a container may not fill our memory
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\Z)")
_LENGTH = re.compile(rb"\d{1,15}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_NO_BODY = (204, 304)
_INFORMATIONAL = range(100, 200)
Headers = Sequence[tuple[bytes, bytes]]


class Broken(Exception):
    """The container didn't give an answer that can be passed on."""


@dataclass(frozen=True)
class Message:
    """A request or an answer, whole. Header names are lower case."""

    start: bytes  # the first line
    headers: Headers
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    def encoded(self) -> bytes:
        lines = [self.start, *(b"%s: %s" % pair for pair in self.headers), b"content-length: %d" % len(self.body)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


class Stream:
    """One connection to the container; `heard` tells whether it began to answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.heard = False


async def read_request(reader: asyncio.StreamReader) -> Message:
    """Return the platform's next request; raises IncompleteReadError where there is none."""
    start, headers = _head(await reader.readuntil(b"\r\n\r\n"))
    length = int(dict(headers).get(b"content-length", b"0"))
    return Message(start, headers, await reader.readexactly(length))


async def read_answer(stream: Stream, request: Message) -> tuple[Message, bool]:
    """Send a request; return the answer, and whether the connection can be used again. Raises Broken."""
    stream.heard = False
    try:
        stream.writer.write(request.encoded())
        return await _answer(stream)
    except asyncio.LimitOverrunError as problem:
        raise Broken(f"its head exceeds {HEAD} bytes") from problem
    except (asyncio.IncompleteReadError, ConnectionError) as problem:
        raise Broken("it ended the connection before its answer was whole") from problem


async def _answer(stream: Stream) -> tuple[Message, bool]:
    reader = stream.reader
    while True:
        start, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        stream.heard = True
        found = _STATUS.match(start)
        if not found:
            raise Broken("it is no HTTP/1.1")
        if int(found[1]) not in _INFORMATIONAL:
            break
    fields = dict(headers)
    stays = start.startswith(b"HTTP/1.1") and fields.get(b"connection", b"").lower() != b"close"
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return Message(start, headers, await _chunks(reader)), stays
    if int(found[1]) in _NO_BODY:
        return Message(start, headers), stays
    if b"content-length" in fields:
        return Message(start, headers, await _sized(reader, fields[b"content-length"])), stays
    return Message(start, headers, await _rest(reader)), False


def _head(text: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    start, *lines = text[:-4].split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return start, [(name.strip().lower(), value.strip()) for name, _, value in pairs]


async def _sized(reader: asyncio.StreamReader, length: bytes) -> bytes:
    if not _LENGTH.fullmatch(length):
        raise Broken("its content-length is no number")
    _check(int(length))
    return await reader.readexactly(int(length))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        found = _CHUNK.fullmatch(await reader.readuntil(b"\r\n"))
        if not found:
            raise Broken("a chunk of it has no size")
        length = int(found[1], 16)
        size += length
        _check(size)
        if not length:
            break
        parts.append((await reader.readexactly(length + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return b"".join(parts)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while block := await reader.read(HEAD):
        body += block
        _check(len(body))
    return body


def _check(size: int) -> None:
    if size > _MOST:
        raise Broken(f"it exceeds {_MOST} bytes")
