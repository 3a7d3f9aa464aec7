"""How replicas' answers are read: every legal form of HTTP/1.1, and nothing that only looks like it."""

import asyncio

import pytest
import uvloop

from chalicelib.local.gateway import upstream
from chalicelib.local.gateway.upstream import Broken, Replica, Replicas, TimedOut

MESSAGE = (b"POST /predict HTTP/1.1\r\nhost: replica\r\ncontent-length: 2\r\n\r\n", b"{}")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


class Server(asyncio.Protocol):
    """Answers every request with the given bytes; `then` is what it does afterwards."""

    def __init__(self, answer, then):
        self._answer, self._then = answer, then

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._transport.write(self._answer)
        if self._then == "close":
            self._transport.close()


def call(tmp_path, answer, *, then="stay", times=1, timeout=20.0):
    """Return the answers to some calls of one replica that says these bytes, and how often it was connected to."""
    connections = []

    def connect():
        connections.append(Server(answer, then))
        return connections[-1]

    async def main():
        server = await asyncio.get_running_loop().create_unix_server(connect, str(tmp_path / "s"))
        replica = Replica(tmp_path / "s")
        try:
            return [await replica.call(MESSAGE, timeout) for _ in range(times)], len(connections)
        finally:
            assert replica.in_flight == 0
            replica.close()
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize(
    ("answer", "then", "body"),
    [
        (OK, "stay", b"hi"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", "stay", b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", "close", b"hi"),
        (b"HTTP/1.0 200 OK\r\n\r\nhi", "close", b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "stay", b"hi"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "stay", b""),
    ],
)
def test_every_form_of_an_answer_is_read(tmp_path, answer, then, body):
    (read,), _ = call(tmp_path, answer, then=then)
    assert (read.status, read.body) == (200, body)


def test_no_content_is_an_answer(tmp_path):
    (read,), _ = call(tmp_path, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (read.status, read.body) == (204, b"")


def test_header_names_are_lower_case(tmp_path):
    (read,), _ = call(tmp_path, b"HTTP/1.1 200 OK\r\nX-Own: Yes\r\nContent-Length: 0\r\n\r\n")
    assert (b"x-own", b"Yes") in read.headers


@pytest.mark.parametrize(
    ("answer", "then", "connections"),
    [
        (OK, "stay", 1),
        (OK.replace(b"OK\r\n", b"OK\r\nconnection: close\r\n"), "stay", 3),
        (OK, "close", 3),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", "stay", 3),
    ],
)
def test_a_connection_is_used_again_only_when_it_may_be(tmp_path, answer, then, connections):
    answers, made = call(tmp_path, answer, then=then, times=3)
    assert [read.body for read in answers] == [b"hi"] * 3
    assert made == connections


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (b"", "close"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "close"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", "close"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n", "close"),
        (b"SSH-2.0-OpenSSH\r\n", "stay"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhi", "stay"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "stay"),
    ],
)
def test_half_an_answer_is_none(tmp_path, answer, then):
    with pytest.raises(Broken) as broken:
        call(tmp_path, answer, then=then)
    assert broken.value.was_sent


def test_what_a_replica_says_unasked_is_never_an_answer(tmp_path):
    answers, made = call(tmp_path, OK + OK.replace(b"hi", b"no"), times=3)
    assert [read.body for read in answers] == [b"hi"] * 3
    assert made == 3


def test_an_endless_answer_does_not_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(upstream, "MAX_ANSWER", 1000)
    with pytest.raises(Broken, match="exceeds 1000 bytes"):
        call(tmp_path, b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000)


def test_silence_times_out(tmp_path):
    with pytest.raises(TimedOut):
        call(tmp_path, b"", timeout=0.05)


def test_nobody_listening_means_that_nothing_was_sent(tmp_path):
    replica = Replica(tmp_path / "nobody")
    with pytest.raises(Broken) as broken:
        asyncio.run(replica.call(MESSAGE, 1.0))
    assert not broken.value.was_sent


def test_the_replica_with_the_fewest_requests_is_next(tmp_path):
    replicas = Replicas()
    sockets = [tmp_path / name for name in "abc"]
    for socket, in_flight in zip(sockets, (2, 0, 1), strict=True):
        replicas.least_busy([socket]).in_flight = in_flight
    assert replicas.least_busy(sockets).socket == tmp_path / "b"
