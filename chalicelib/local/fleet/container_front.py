"""What stands before a custom container: a replica like any other to the fleet and the gateway, on a Unix socket.

Run as `python -m chalicelib.local.fleet.container_front` with its orders as JSON on stdin. It enters the container's
network, gives up its rights, and then answers `/ping` by the container's health route and sends every prediction to its
predict route. It is a process of its own because a thread of ours can't leave for another network. Its only caller is
the platform, so requests are taken as well-formed; what the container says is not.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from chalicelib.local.die_with_parent import tie_to_parent
from chalicelib.local.fleet import jail
from chalicelib.local.fleet.container_http import HEAD, Broken, Message, Stream, read_answer, read_request

_PING = "/ping"
_PING_S = 1.5  # less than the fleet waits
_PREDICT_S = 60.0
_OK = range(200, 300)
# The connection's own, and what only the serving image can say of itself: from another it would prove nothing.
_DROPPED = frozenset((
    b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"trailer", b"upgrade", b"host", b"expect",
    b"x-modeldrop-model", b"x-modeldrop-version", b"x-modeldrop-digest",
))  # fmt: skip


@dataclass(frozen=True)
class Orders:
    """What the fleet tells: where to listen, whose network to enter (0: nobody's), and how the container talks."""

    parent: int
    socket: Path
    uid: int
    pid: int
    port: int
    health_route: str
    predict_route: str
    digest: str  # of the files that were mounted, as the fleet computed it

    @classmethod
    def read(cls, text: str) -> "Orders":
        told: Mapping[str, Any] = json.loads(text)
        return cls(**{**told, "socket": Path(told["socket"])})

    def write(self) -> bytes:
        return json.dumps({**vars(self), "socket": str(self.socket)}).encode()


class Front:
    """The service on the socket."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._ready = json.dumps({"status": "ready", "digest": orders.digest}).encode()
        self._idle: list[Stream] = []  # kept connections to the container

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after another, until it ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                request = await read_request(reader)
                answer = await self._answer(request)
                writer.write(answer.encoded())
                await writer.drain()

    def close(self) -> None:
        """End the connections that are kept to the container."""
        for stream in self._idle:
            stream.writer.transport.abort()

    async def _answer(self, request: Message) -> Message:
        is_ping = request.start.split(b" ")[1].decode() == _PING
        patience = _PING_S if is_ping else _PREDICT_S
        try:
            async with asyncio.timeout(patience):
                return await (self._ping() if is_ping else self._predict(request))
        except Broken as problem:
            return _error(HTTPStatus.BAD_GATEWAY, "no_answer", f"the container gave no answer: {problem}")
        except TimeoutError:
            return _error(HTTPStatus.GATEWAY_TIMEOUT, "timed_out", f"the container took longer than {patience:g} s")

    async def _ping(self) -> Message:
        route = self._orders.health_route
        answer = await self._ask(Message(b"GET %s HTTP/1.1" % route.encode(), [(b"host", b"replica")]))
        if answer.status in _OK:
            return Message(b"HTTP/1.1 200 OK", [(b"content-type", b"application/json")], self._ready)
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", f"{route} answers {answer.status}")

    async def _predict(self, request: Message) -> Message:
        start = b"POST %s HTTP/1.1" % self._orders.predict_route.encode()
        answer = await self._ask(Message(start, [(b"host", b"replica"), *_passed(request)], request.body))
        return Message(answer.start, _passed(answer), answer.body)

    async def _ask(self, request: Message) -> Message:
        """Return the container's answer; a kept connection that it had closed meanwhile is tried anew."""
        while self._idle:
            stream = self._idle.pop()
            with contextlib.suppress(Broken):
                return await self._exchange(stream, request)
            if stream.heard:
                raise Broken("it ended the connection within its answer")
        return await self._exchange(await self._connected(), request)

    async def _exchange(self, stream: Stream, request: Message) -> Message:
        kept = False
        try:
            answer, kept = await read_answer(stream, request)
        finally:
            if kept:
                self._idle.append(stream)
            else:
                stream.writer.transport.abort()
        return answer

    async def _connected(self) -> Stream:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._orders.port, limit=HEAD)
        except OSError as problem:
            raise Broken(f"no connection: {problem}") from problem
        return Stream(reader, writer)


def _passed(message: Message) -> list[tuple[bytes, bytes]]:
    return [pair for pair in message.headers if pair[0] not in _DROPPED]


def _error(status: HTTPStatus, code: str, message: str) -> Message:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Message(b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), [(b"content-type", b"application/json")], body)


def enter_network(pid: int) -> None:
    """Go where another process's ports are."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    jail.check(jail.libc.setns(namespace, jail.NEW_NETWORK), f"entering the network of process {pid}")
    os.close(namespace)


async def serve(orders: Orders) -> None:
    """Serve until the fleet ends it, which it does once the container has ended."""
    with contextlib.closing(Front(orders)) as front:
        server = await asyncio.start_unix_server(front.serve, str(orders.socket), limit=HEAD)
        await server.serve_forever()


def main() -> None:
    orders = Orders.read(sys.stdin.read())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the platform's to answer
    tie_to_parent(orders.parent)
    if orders.pid:
        try:
            enter_network(orders.pid)
        except OSError as error:  # it has ended already: its own last words are in the same log
            sys.exit(f"{error}")
    with asyncio.Runner() as runner:
        runner.get_loop()  # made while there is still a right to whatever it loads
        jail.drop_rights(orders.uid)
        tie_to_parent(orders.parent)  # again: a change of uid clears it
        runner.run(serve(orders))


if __name__ == "__main__":
    main()
