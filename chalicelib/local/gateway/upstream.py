"""HTTP/1.1 to replicas: kept-alive connections over Unix sockets, one request at a time on each."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools

from chalicelib.local.gateway.eager import Awaited
from chalicelib.local.gateway.messages import Headers

MAX_IDLE = 64  # kept connections to one replica
MAX_ANSWER = 64 * 2**20  # bytes with its head: model code may not fill our memory
CONNECT_TRIES = 100  # a full backlog is retried, not failed: it empties within milliseconds
CONNECT_PAUSE = 0.01  # seconds
PRUNE = 10.0  # seconds
_INFORMATIONAL = range(100, 200)


class Broken(Exception):
    """The replica didn't take the connection (then nothing `was_sent`), or ended it before its whole answer."""

    def __init__(self, why: str, *, was_sent: bool = True) -> None:
        super().__init__(why)
        self.was_sent = was_sent


class TimedOut(Exception):
    """The replica didn't answer in time."""


@dataclass(slots=True)
class Answer:
    """What a replica said; of a repeated header `fields` holds the last."""

    status: int
    headers: Headers
    fields: Mapping[bytes, bytes]
    body: bytes


class Link(asyncio.Protocol):
    """One connection to a replica."""

    def __init__(self, idle: list["Link"]) -> None:
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Awaited[Answer] | None = None
        self._whole: Answer | None = None  # the answer, once all of it came
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0  # of the current answer
        self.heard = False  # a byte of the current answer
        self._until_close = False  # the answer has no length: it ends with the connection
        self._can_stay = False
        self._said_more = False  # than one answer: what it says next would be taken for another request's
        self._size = 0  # bytes of the current answer

    # --- called by the loop -----------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if self._timer:
            self._timer.cancel()
        if exc is None and self._until_close:
            self._complete()
            self._bring()
        self._fail(Broken(f"the connection ended without an answer{f': {exc}' if exc else ''}"))

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nothing was asked
            self._transport.abort()
            return
        self.heard = True
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self._fail(Broken(f"the replica's answer exceeds {MAX_ANSWER} bytes"))
            self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            if self._whole is None:
                self._fail(Broken(f"the replica's answer is not HTTP/1.1: {problem}"))
            self._transport.abort()
        if self._whole is not None:  # not before all that came was read: what is said behind an answer counts, too
            self._bring()

    # --- called by the parser ---------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._said_more = self._whole is not None
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._fields = fields = dict(self._headers)
        self._until_close = (
            b"content-length" not in fields
            and b"transfer-encoding" not in fields
            and self._status not in _INFORMATIONAL
        )

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._status not in _INFORMATIONAL and not self._said_more:
            self._can_stay = self._parser.should_keep_alive()
            self._complete()

    # --- called by the replica's pool -------------------------------------------------------------------------------
    async def call(self, message: Sequence[bytes], timeout: float) -> Answer:  # noqa: ASYNC109
        """Send a request and return its answer. Cancelled, it ends the connection, so that no answer is mixed up."""
        self.heard = False
        self._size = 0
        self._whole = None
        answer = self._answer = Awaited(self._loop)
        self._expect_within(timeout)
        self._transport.writelines(message)
        try:
            whole = await answer
        except (asyncio.CancelledError, TimedOut):
            self._transport.abort()
            raise
        finally:
            self._answer = None
        self._keep()
        return whole

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()

    # --- inside -----------------------------------------------------------------------------------------------------
    def _keep(self) -> None:
        if self._can_stay and not self._said_more and not self.is_closing and len(self._idle) < MAX_IDLE:
            self._idle.append(self)
        else:
            self._transport.close()

    def _complete(self) -> None:
        self._until_close = False
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._whole = Answer(self._status, self._headers, self._fields, body)

    def _bring(self) -> None:
        if self._answer and self._whole and not self._answer.is_done:
            self._answer.bring(self._whole)

    def _fail(self, why: Exception) -> None:
        if self._answer:
            self._answer.fail(why)

    def _expect_within(self, timeout: float) -> None:
        """Set the answer's deadline. One timer serves many answers: it looks again when it comes too early."""
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._deadline:
            self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._answer is None:
            return
        if self._loop.time() < self._deadline:
            self._arm()
        else:
            self._fail(TimedOut())


class Replica:
    """One replica: its socket, the connections kept to it, and how many requests it has."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._idle: list[Link] = []
        self.in_flight = 0

    async def call(self, message: Sequence[bytes], timeout: float) -> Answer:  # noqa: ASYNC109
        """Return the replica's answer; raises Broken or TimedOut.

        A kept connection that ends before the first byte was most likely closed by the replica for being idle, so the
        request is sent once more on a new one: a prediction is safe to repeat.
        """
        self.in_flight += 1
        try:
            while self._idle:
                link = self._idle.pop()
                if link.is_closing:
                    continue
                try:
                    return await link.call(message, timeout)
                except Broken:
                    if link.heard:
                        raise
                    break
            return await (await self._connect()).call(message, timeout)
        finally:
            self.in_flight -= 1

    def close(self) -> None:
        for link in list(self._idle):
            link.close()

    @property
    def is_unused(self) -> bool:
        return not self._idle and not self.in_flight

    async def _connect(self) -> Link:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECT_TRIES):
            try:
                _, link = await loop.create_unix_connection(lambda: Link(self._idle), str(self.socket))
            except BlockingIOError:
                await asyncio.sleep(CONNECT_PAUSE)
            except OSError as problem:
                raise Broken(f"no connection: {problem}", was_sent=False) from problem
            else:
                return link
        raise Broken("no connection: the replica accepts none", was_sent=False)


class Replicas:
    """All replicas that were ever called, by socket."""

    def __init__(self) -> None:
        self._by_socket: dict[Path, Replica] = {}

    def least_busy(self, sockets: Sequence[Path]) -> Replica:
        """Return the one of these with the fewest requests in flight."""
        if len(sockets) == 1:
            return self._of(sockets[0])
        return min((self._of(socket) for socket in sockets), key=lambda replica: replica.in_flight)

    async def prune(self) -> None:
        """Forget the ones that nothing is connected to, for ever."""
        while True:
            await asyncio.sleep(PRUNE)
            self._by_socket = {socket: each for socket, each in self._by_socket.items() if not each.is_unused}

    def close(self) -> None:
        for replica in self._by_socket.values():
            replica.close()

    def _of(self, socket: Path) -> Replica:
        replica = self._by_socket.get(socket)
        if replica is None:
            replica = self._by_socket[socket] = Replica(socket)
        return replica
