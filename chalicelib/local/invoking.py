"""Asks one deployment of this machine directly, past the gateway and its split: over the Unix socket of a replica."""

import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from chalicelib.domain import custom_attributes, served_by
from chalicelib.domain.invocation import BYTES, Call, NoAnswer, Reply, TimedOut, TooLarge

LARGEST = 16 * 2**20  # bytes of an answer
_PATHS = {True: "/predict", False: "/invocations"}  # by whether instances are meant
_SAID = {
    served_by.MODEL: "model",
    served_by.VERSION: custom_attributes.VERSION,
    served_by.DIGEST: custom_attributes.DIGEST,
    served_by.NONFINITE: custom_attributes.NONFINITE,
}


class SocketInvoker:
    """`pipeline.ports.Invoker` over the sockets of a deployment's ready replicas."""

    def __init__(self, sockets: Callable[[str], Sequence[Path]]) -> None:
        self._sockets = sockets

    def invoke(self, deployment_id: str, call: Call, seconds: float) -> Reply:
        """Return the first ready replica's answer, errors of the model included; raises NoAnswer or TimedOut."""
        ready = self._sockets(deployment_id)
        if not ready:
            raise NoAnswer(f"deployment {deployment_id} gave no answer: no replica is ready; try again")
        connection = _Connection(ready[0])
        timer = threading.Timer(seconds, connection.give_up)
        timer.start()
        try:
            return _exchange(connection, call)
        except (OSError, http.client.HTTPException) as problem:
            if connection.was_given_up:
                raise TimedOut(f"deployment {deployment_id} did not answer within {seconds:g} s") from problem
            raise NoAnswer(f"deployment {deployment_id} gave no answer: {problem}; try again") from problem
        finally:
            timer.cancel()
            connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket that another thread may end: a replica that drips its answer is late all the same."""

    def __init__(self, path: Path) -> None:
        super().__init__("replica")
        self._path = path
        self.was_given_up = False
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self) -> None:
        self.sock.connect(str(self._path))

    def give_up(self) -> None:
        self.was_given_up = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it isn't connected yet, or not any more
            self.sock.close()


def _exchange(connection: _Connection, call: Call) -> Reply:
    connection.connect()
    meant = call.attributes.get(custom_attributes.CONTRACT) == custom_attributes.INSTANCES
    connection.request("POST", _PATHS[meant], call.body, _headers(call))
    response = connection.getresponse()
    body = response.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise TooLarge(f"the answer has more than {LARGEST} bytes")
    if response.length:  # of its body that didn't come
        raise http.client.IncompleteRead(body, response.length)
    said = {name: response.headers[header] for header, name in _SAID.items() if header in response.headers}
    return Reply(response.status, body, response.headers.get("Content-Type", BYTES), said)


def _headers(call: Call) -> dict[str, str]:
    named = {
        "Content-Type": call.content_type,
        "Accept": call.accept,
        "X-Request-Id": call.attributes.get(custom_attributes.TRACE, ""),
    }
    return {"Connection": "close", **{name: value for name, value in named.items() if value}}
