"""HTTP/1.1 on a socket: bytes to requests, responses to bytes in the order of their requests."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httptools

from modelserver.errors import RequestError
from modelserver.messages import Request, Response, error_response

MAX_PIPELINED = 64
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Cancel(Protocol):
    def __call__(self) -> None: ...


class Application(Protocol):
    """Answers each request once by `reply`, now or later; what it returns takes back a request whose client left."""

    def handle(self, request: Request, reply: Callable[[Response], None]) -> Cancel | None: ...

    @property
    def is_draining(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_body: int
    max_header: int
    read_timeout_s: float
    idle_timeout_s: float


@dataclass(slots=True, eq=False)
class Exchange:
    """A request's place in the order of answers."""

    keep_alive: bool
    with_body: bool = True
    response: Response | None = None
    cancel: Cancel | None = None


class Connection(asyncio.Protocol):
    def __init__(self, app: Application, limits: Limits, connections: "set[Connection]") -> None:
        self._app = app
        self._limits = limits
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._transport: Any = None
        self._is_refused = False
        self._is_reading = False
        self._is_choked = False
        self._is_throttled = False
        self._began = self._last_event = time.perf_counter()
        self._begin_message()

    def _begin_message(self) -> None:
        self._url = b""
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._headers: dict[str, str] = {}
        self._header_size = 0
        self._unparsed = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._in_headers = True

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self)
        for exchange in self._exchanges:
            if exchange.cancel is not None and exchange.response is None:
                exchange.cancel()
        self._exchanges.clear()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if not self._is_reading:
            self._is_reading = True
            self._last_event = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(RequestError(400, "no_upgrade", "this server speaks HTTP/1.1 only"))
        except httptools.HttpParserError as error:
            self._refuse(RequestError(400, "malformed_http", str(error)))
        if self._is_reading and self._in_headers:
            # A header that never ends is not announced by the parser.
            self._unparsed += len(data)
            self._check_header(self._unparsed)

    def pause_writing(self) -> None:
        self._is_choked = True
        self._throttle()

    def resume_writing(self) -> None:
        self._is_choked = False
        self._throttle()

    def _throttle(self) -> None:
        """Read no more while the client takes no answers, or has asked far ahead of them."""
        wanted = self._is_choked or len(self._exchanges) >= MAX_PIPELINED
        if wanted == self._is_throttled or self._transport.is_closing():
            return
        self._is_throttled = wanted
        if wanted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # What the parser says.

    def on_message_begin(self) -> None:
        self._is_reading = True
        self._began = time.perf_counter()
        self._begin_message()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_size += len(url)
        if self._header_size > self._limits.max_header:
            self._check_header(self._header_size)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))
        self._header_size += len(name) + len(value)
        if self._header_size > self._limits.max_header:
            self._check_header(self._header_size)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._headers = headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in self._raw_headers}
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limits.max_body:
            self._refuse_body()
        elif headers.get("expect", "").lower() == "100-continue" and not self._is_refused:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._limits.max_body:
            self._refuse_body()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_reading = False
        self._last_event = time.perf_counter()
        if not self._is_refused:
            self._dispatch()

    # What follows from it.

    def _check_header(self, size: int) -> None:
        if size > self._limits.max_header and not self._is_refused:
            message = f"the request's headers are larger than {self._limits.max_header} bytes"
            self._refuse(RequestError(431, "headers_too_large", message))

    def _refuse_body(self) -> None:
        if not self._is_refused:
            message = f"the body is larger than {self._limits.max_body} bytes"
            self._refuse(RequestError(413, "body_too_large", message, where="body"))

    def _dispatch(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        path = self._url.split(b"?", 1)[0].decode("latin-1")
        read_s = self._last_event - self._began
        request = Request(method, path, self._headers, b"".join(self._body), read_s)
        exchange = Exchange(self._parser.should_keep_alive(), with_body=method != "HEAD")
        self._body = []
        self._exchanges.append(exchange)
        # What a client sends after its last request is not read.
        self._is_refused = not exchange.keep_alive
        self._throttle()
        exchange.cancel = self._app.handle(request, lambda response: self._reply(exchange, response))

    def _reply(self, exchange: Exchange, response: Response) -> None:
        exchange.response = response
        while self._exchanges and self._exchanges[0].response is not None:
            self._write(self._exchanges.popleft())
        self._throttle()

    def _write(self, exchange: Exchange) -> None:
        if exchange.response is None or self._transport.is_closing():
            return
        keep_alive = exchange.keep_alive and not self._app.is_draining
        self._last_event = time.perf_counter()
        self._transport.write(exchange.response.serialized(keep_alive=keep_alive, with_body=exchange.with_body))
        if not keep_alive:
            self._transport.close()

    def _refuse(self, error: RequestError) -> None:
        """Answer in turn and close: what follows on this connection cannot be understood."""
        self._is_refused = True
        exchange = Exchange(keep_alive=False)
        self._exchanges.append(exchange)
        self._reply(exchange, error_response(error))

    def sweep(self, now: float) -> None:
        """End what takes too long: a request that does not arrive, a connection that nobody uses."""
        quiet = now - self._last_event
        if self._transport.is_closing():
            return
        if self._is_reading and not self._is_refused and quiet > self._limits.read_timeout_s:
            message = f"the request did not arrive within {self._limits.read_timeout_s:g} s"
            self._refuse(RequestError(408, "slow_request", message))
        elif not self._is_reading and not self._exchanges and quiet > self._limits.idle_timeout_s:
            # Who takes no answers would keep a mere close waiting for ever.
            self._transport.abort()

    @property
    def is_idle(self) -> bool:
        return not self._exchanges and not self._is_reading

    def close(self) -> None:
        self._transport.close()
