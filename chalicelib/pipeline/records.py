"""The registry's records as typed values: what kinds there are, under which ids, and how they become JSON.

A `Stored` value remembers the revision it was read at, so that writing it back is conditional on nobody else having.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from chalicelib.domain.deliveries import Delivery
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotFound
from chalicelib.domain.findings import Report
from chalicelib.domain.hooks import Hook
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import Version
from chalicelib.domain.webhooks import Webhook
from chalicelib.pipeline.ports import Doc, Registry, Write

T = TypeVar("T")


@dataclass(frozen=True)
class Drop:
    """What we know of an upload that isn't a version (yet): its last report and the listing it was made for."""

    prefix: str
    status: str  # uploading | rejected | validated | registered
    report: Report
    fingerprint: str
    seen: datetime
    reported: bool = False  # the report lies where the uploader can see it

    def judges(self, fingerprint: str) -> bool:
        """Tell whether this very listing was judged: its bytes needn't be read again."""
        return self.status in {"rejected", "validated", "registered"} and self.fingerprint == fingerprint

    def settles(self, fingerprint: str) -> bool:
        """Tell whether this very listing was judged and nothing is left to do: rejected, or registered as it is."""
        return self.status != "validated" and self.judges(fingerprint)


@dataclass(frozen=True)
class ApiKey:
    """A caller's key. Only its hash is kept."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    created: datetime
    revoked: datetime | None = None


@dataclass(frozen=True)
class TakenCall:
    """A call of a hook that isn't taken again. `what` it asked for, and why that was refused if it was."""

    at: datetime
    what: str
    until: datetime  # then it may be forgotten


_KINDS: dict[type[Any], str] = {
    Drop: "drop",
    Version: "version",
    Endpoint: "endpoint",
    Rollout: "rollout",
    ApiKey: "key",
    Hook: "hook",
    TakenCall: "hook_call",
    Webhook: "webhook",
    Delivery: "delivery",
}


@dataclass(frozen=True)
class Stored(Generic[T]):
    """A value as it was read; `revision` 0 means that it isn't stored yet."""

    id: str
    value: T
    revision: int = 0

    def to(self, **changes: Any) -> "Stored[T]":
        """Return it with fields changed, still at the revision that was read."""
        return replace(self, value=replace(self.value, **changes))  # type: ignore[type-var]

    @property
    def write(self) -> Write:
        """The conditional write that stores it."""
        return Write(_KINDS[type(self.value)], self.id, self.revision, to_json(self.value))


@dataclass(frozen=True)
class Records:
    """Typed reads over a registry."""

    registry: Registry = field(repr=False)

    def get(self, kind: type[T], id: str) -> Stored[T] | None:  # noqa: A002
        doc = self.registry.get(_KINDS[kind], id)
        return _stored(kind, doc) if doc else None

    def list(self, kind: type[T], prefix: str = "") -> Sequence[Stored[T]]:
        return [_stored(kind, doc) for doc in self.registry.list(_KINDS[kind], prefix)]

    def changed(self, kind: type[T], known: Mapping[str, Stored[T]]) -> dict[str, Stored[T]]:
        """Return all records of a kind by id, parsing only those that are not at the known revision."""
        docs = self.registry.list(_KINDS[kind])
        return {doc.id: _newer(kind, doc, known.get(doc.id)) for doc in docs}

    def version(self, ref: VersionRef) -> Stored[Version] | None:
        return self.get(Version, str(ref))

    def endpoint(self, name: str) -> Stored[Endpoint] | None:
        return self.get(Endpoint, name)

    def known_endpoint(self, name: str) -> Stored[Endpoint]:
        """Return an endpoint; raises NotFound."""
        if stored := self.endpoint(name):
            return stored
        raise NotFound(f"there is no endpoint {name!r}; it is made by the first version that is dropped for it")

    def open_rollout(self, endpoint: Endpoint) -> Stored[Rollout] | None:
        """Return an endpoint's open rollout."""
        found = self.get(Rollout, endpoint.rollout) if endpoint.rollout else None
        return found if found and found.value.is_open else None


def to_json(value: Any) -> dict[str, Any]:
    """Return a record's JSON form."""
    body: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")
    return body


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}  # made on first use: each costs a cold start some milliseconds


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _newer(kind: type[T], doc: Doc, known: Stored[T] | None) -> Stored[T]:
    return known if known and known.revision == doc.revision else _stored(kind, doc)


def _stored(kind: type[T], doc: Doc) -> Stored[T]:
    return Stored(doc.id, _adapter(kind).validate_python(doc.body), doc.revision)
