"""HTTP/1.1 for clients: whole requests in, whole responses out in their order, within limits of size and time.

One `Connection` per client parses with httptools and hands one request at a time to the service. Deadlines are one
number a connection, looked at by one sweep for all: no timer is made for a request.
"""

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, cast

import httptools

from chalicelib.local.gateway.eager import Run
from chalicelib.local.gateway.messages import Request, Response, error

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_WAITING = 4  # pipelined requests that wait on one connection before we stop reading
ONE_WRITE = 2**16  # bodies up to this size leave in one write with their head: one TLS record less
READ_ANYWAY = 2**16  # bodies up to this size are read although their request is refused, to keep the connection
SWEEP = 0.25  # seconds
NEVER = float("inf")
_SEPARATORS = len(b": \r\n")  # of a header line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one client may take of us: bytes and seconds."""

    body: int = 64 * 2**20
    head: int = 32 * 2**10
    head_time: float = 10.0  # from a request's first byte to its last header
    body_time: float = 30.0  # without one byte of a begun body
    idle_time: float = 75.0  # between requests
    write_time: float = 60.0  # that a client may leave our answer unread
    linger: float = 3.0  # for a client that still sends to read our refusal


class Service(Protocol):
    """What answers. `admit` sees a request without its body and may refuse it before the body is read."""

    def admit(self, request: Request) -> Response | None: ...

    async def answer(self, request: Request) -> Response: ...


class Connections:
    """All open connections of a service: made here, swept for deadlines, drained at the end."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits
        self.draining = False
        self.open: set[Connection] = set()
        self._emptied = asyncio.Event()

    def __call__(self) -> "Connection":
        return Connection(self)

    def leave(self, connection: "Connection") -> None:
        self.open.discard(connection)
        if self.draining and not self.open:
            self._emptied.set()

    async def sweep(self) -> None:
        """Deal with what is past its deadline, for ever."""
        while True:
            await asyncio.sleep(SWEEP)
            now = monotonic()
            for connection in [each for each in self.open if each.deadline < now]:
                connection.expire()

    async def drain(self, within: float) -> None:
        """Close idle connections at once, others after their answer; abort what is left in the end."""
        self.draining = True
        for connection in list(self.open):
            connection.close_if_idle()
        if self.open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), within)
        for connection in list(self.open):
            connection.abort()


class Connection(asyncio.Protocol):
    """One client's connection; its methods are called by the loop, the parser and the sweep."""

    def __init__(self, owner: Connections) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._most_head = owner.limits.head
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, Response | None, bool]] = deque()
        self._run: Run[Response] | None = None  # of the request that is being answered
        self._is_sending = False  # answers, one after the other
        self._owes_continue = False
        self._discarding = False  # what still comes is of a refused request
        self._unread = False  # the client leaves our answer unread
        self._is_full = False  # too many requests wait: reading is paused
        self._in_body = False
        self._begun = 0  # requests
        self._begin()
        self._in_head = False
        self.deadline = monotonic() + self._limits.head_time

    # --- called by the loop -----------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._owner.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._owner.leave(self)
        self._waiting.clear()
        if self._run:
            self._run.cancel()

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        of_this_head = self._begun + (0 if self._in_head else 1)
        was_in_body = self._in_body
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(error(400, "bad_request", "no protocol upgrade is offered; speak HTTP/1.1"))
        except httptools.HttpParserError as problem:
            self._refuse(error(400, "bad_request", f"this is not HTTP/1.1: {problem}"))
        if self._in_head and not was_in_body and self._begun == of_this_head:  # all that came is of one head
            self._unended += len(data)
            self._check_head(self._unended)  # a header that never ends isn't reported by the parser
        self._set_deadline()

    def pause_writing(self) -> None:
        self._unread = True
        self._set_deadline()

    def resume_writing(self) -> None:
        self._unread = False
        self._next()
        self._set_deadline()

    # --- called by the parser ---------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._head_size += len(part)
        self._check_head(self._head_size)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer
            self._headers.append((name.lower(), value))
            self._head_size += len(name) + len(value) + _SEPARATORS
            if self._head_size > self._most_head:
                self._check_head(self._head_size)

    def on_headers_complete(self) -> None:
        if self._discarding:
            return
        self._in_head, self._in_body = False, True
        method = self._parser.get_method().decode()
        self._request = Request(method, self._target.decode("latin-1"), self._headers)
        self._admit(self._request)

    def on_body(self, part: bytes) -> None:
        if self._discarding:
            return
        self._size += len(part)
        if self._size > self._limits.body:
            self._refuse(self._too_large())
            return
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._discarding:
            return
        self._in_body = self._owes_continue = False
        self._request.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        keep_alive = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
        self._waiting.append((self._request, self._refused, keep_alive))
        if len(self._waiting) > MAX_WAITING and not self._is_full:
            self._is_full = True
            self._transport.pause_reading()
        self._next()

    # --- called by the sweep and at the end -------------------------------------------------------------------------
    def expire(self) -> None:
        """Answer 408 where a request was begun, close else."""
        if (self._in_head or self._in_body) and not self._discarding and not self._unread:
            self._refuse(error(408, "too_slow", "the request did not arrive in time; send it faster"))
            self._set_deadline()
        elif self._unread:
            self.abort()
        else:
            self._transport.close()
            self.deadline = NEVER

    def close_if_idle(self) -> None:
        if not (self._run or self._waiting or self._in_head or self._in_body):
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # --- inside -----------------------------------------------------------------------------------------------------
    def _begin(self) -> None:
        self._in_head = True
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._begun += 1
        self._head_size = 0
        self._unended = 0
        self._refused: Response | None = None

    def _check_head(self, size: int) -> None:
        if size > self._limits.head:
            self._refuse(error(431, "head_too_large", f"the headers exceed {self._limits.head} bytes; send fewer"))

    def _too_large(self) -> Response:
        return error(413, "body_too_large", f"the body exceeds {self._limits.body} bytes; send smaller batches")

    def _admit(self, request: Request) -> None:
        length = int(request.fields.get(b"content-length", 0))
        if length > self._limits.body:
            self._refuse(self._too_large())
            return
        self._refused = self._owner.service.admit(request)
        expects = b"expect" in request.fields
        if self._refused and (expects or length > READ_ANYWAY or b"transfer-encoding" in request.fields):
            self._refuse(self._refused)
        elif expects:
            self._owes_continue = True
            self._continue()

    def _continue(self) -> None:
        # Not before the answers to earlier requests: it would be taken for one of them.
        if self._owes_continue and not self._run and not self._waiting:
            self._owes_continue = False
            self._transport.write(CONTINUE)

    def _refuse(self, response: Response) -> None:
        """Answer in turn, then close: where this request ends can't be known or isn't worth reading to."""
        if not self._discarding:
            self._discarding = True
            self._waiting.append((Request("", "", ()), response, False))
            self._next()

    def _next(self) -> None:
        """Answer in order: what was refused at once, one request after the other."""
        self._is_sending = True
        while self._waiting and not self._run and not self._unread:
            request, response, keep_alive = self._waiting.popleft()
            if response is None:
                self._serve(request, keep_alive=keep_alive)
            else:
                self._send(request, response, keep_alive=keep_alive)
        self._is_sending = False
        if self._is_full and len(self._waiting) <= MAX_WAITING:
            self._is_full = False
            self._transport.resume_reading()
        if self._owes_continue:
            self._continue()

    def _serve(self, request: Request, *, keep_alive: bool) -> None:
        def send(response: Response) -> None:
            self._run = None
            self._send(request, response, keep_alive=keep_alive)
            if not self._is_sending:  # else who began it goes on
                self._next()
                self._set_deadline()

        self._run = Run(self._answered(request), send)
        self._run.go()

    async def _answered(self, request: Request) -> Response:
        try:
            return await self._owner.service.answer(request)
        except Exception:  # the loop of a process: a bug costs one answer, never the connection
            log.exception("no answer to %s %s", request.method, request.path)
            return error(500, "internal", "the gateway failed on this request; its log says why")

    def _send(self, request: Request, response: Response, *, keep_alive: bool) -> None:
        close = self._owner.draining or not keep_alive
        head = response.encode_head(close=close)
        body = b"" if request.method == "HEAD" else response.body
        if len(body) <= ONE_WRITE:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        if close:
            self._waiting.clear()
            if not self._discarding:  # else the client would lose our answer to a reset
                self._transport.close()

    def _set_deadline(self) -> None:
        if self._unread:
            self.deadline = monotonic() + self._limits.write_time
        elif self._run or self._waiting:
            self.deadline = NEVER  # what answers has its own time limits
        elif self._discarding:
            self.deadline = monotonic() + self._limits.linger
        elif self._in_body:
            self.deadline = monotonic() + self._limits.body_time
        elif self._in_head:  # not put off by its bytes
            self.deadline = min(self.deadline, monotonic() + self._limits.head_time)
        else:
            self.deadline = monotonic() + self._limits.idle_time
