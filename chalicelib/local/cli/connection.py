"""Calls to the platform's API, whose refusals and absence become one line and an exit status."""

import ssl
from collections.abc import Iterator
from typing import Any, Self

import httpx

from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.settings import Connection, Settings

Json = Any
_NOT_NOW = (429, 502, 503, 504)
_NOT_FOUND = 404


class Platform:
    """A client of one platform. Use it as a context."""

    def __init__(self, connection: Connection) -> None:
        self._url = connection.url
        self.ca = connection.ca
        self._client = httpx.Client(
            base_url=connection.url,
            headers={"Authorization": f"Bearer {connection.key}"},
            verify=_trust(connection),
            timeout=60,
        )

    @classmethod
    def of(cls, settings: Settings) -> "Platform":
        return cls(settings.connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: str) -> Json:
        return self.ask("GET", path, params=params)

    def find(self, path: str) -> Json:
        """Return the JSON of what is there, None where nothing is; raises Ended."""
        answer = self.send("GET", path)
        if answer.status_code == _NOT_FOUND:
            return None
        return _read(answer)

    def post(self, path: str, body: Json = None) -> Json:
        return self.ask("POST", path, json=body)

    def ask(self, method: str, path: str, **more: Any) -> Json:
        """Return the JSON of a good answer; raises Ended."""
        return _read(self.send(method, path, **more))

    def all(self, path: str, of: str, **params: str) -> Iterator[Json]:
        """Yield every entry of a list, page by page."""
        after = ""
        while after is not None:
            page = self.get(path, **params, **({"after": after} if after else {}))
            yield from page[of]
            after = page["next"]

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Return the answer, good or bad; raises Ended when there is none."""
        try:
            return self._client.request(method, path, **more)
        except httpx.InvalidURL as error:
            raise Ended(Status.USAGE, f"{self._url} is no URL: {error}") from error
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise Ended(Status.UNREACHABLE, f"can't reach the platform at {self._url}: {why}") from error


def _trust(connection: Connection) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=connection.ca or None)
    except OSError as error:
        raise Ended(Status.USAGE, f"--ca {connection.ca} can't be read as a PEM file: {error}") from error


def _read(answer: httpx.Response) -> Json:
    if answer.is_success:
        return _json(answer)
    raise Ended(_status(answer), _message(answer))


def _json(answer: httpx.Response) -> Json:
    try:
        return answer.json()
    except ValueError as error:
        raise Ended(Status.UNREACHABLE, f"{answer.url} doesn't answer like Modeldrop: no JSON") from error


def _status(answer: httpx.Response) -> Status:
    return Status.UNREACHABLE if answer.status_code in _NOT_NOW else Status.NO


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answered {answer.status_code}: {answer.text[:200]}"
