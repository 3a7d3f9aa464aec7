"""Who answers for an endpoint and whose key is valid, from memory: no request waits for the registry.

The maps are replaced, never changed, so the loop reads them without a lock. `reload` is the level trigger, called every
second; `refresh` makes a commit seen at once.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from chalicelib.domain.deployment import Endpoint
from chalicelib.pipeline.ports import Registry
from chalicelib.pipeline.records import ApiKey, Records, Stored

T = TypeVar("T")


class Routes:
    """The endpoints and keys that the registry holds, as of at most a second ago."""

    def __init__(self, registry: Registry) -> None:
        records = Records(registry)
        self._endpoints = _Mirror(records, Endpoint, lambda endpoint: endpoint.name)
        self._keys = _Mirror(records, ApiKey, lambda key: key.sha256)

    def reload(self) -> None:
        """Read all that has changed. Any thread may call it."""
        self._endpoints.reload()
        self._keys.reload()

    def refresh(self, id: str) -> None:  # noqa: A002
        """Read one endpoint, or one key, anew after a commit. Any thread may call it."""
        self._endpoints.refresh(id)
        self._keys.refresh(id)

    def endpoint(self, name: str) -> Endpoint | None:
        return self._endpoints.values.get(name)

    def key(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash."""
        return self._keys.values.get(sha256)

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """The keys by their hash: the same mapping for as long as none has changed."""
        return self._keys.values

    @property
    def deployments(self) -> frozenset[str]:
        """The ids of every endpoint's deployments."""
        return frozenset(id_ for endpoint in self._endpoints.values.values() for id_ in endpoint.deployments)


class _Mirror(Generic[T]):
    """The values of one kind by a name of theirs, each parsed only when its revision has changed."""

    def __init__(self, records: Records, kind: type[T], name: Callable[[T], str]) -> None:
        self._records = records
        self._kind = kind
        self._name = name
        self._lock = threading.Lock()  # reading and replacing are one, or an older read could win
        self._stored: Mapping[str, Stored[T]] = {}
        self.values: Mapping[str, T] = {}

    def reload(self) -> None:
        with self._lock:
            self._replace(self._records.changed(self._kind, self._stored))

    def refresh(self, id_: str) -> None:
        with self._lock:
            found = self._records.get(self._kind, id_)
            others = {known: stored for known, stored in self._stored.items() if known != id_}
            self._replace({**others, id_: found} if found else others)

    def _replace(self, stored: Mapping[str, Stored[T]]) -> None:
        if self.values and _same(stored, self._stored):
            return
        self._stored = stored
        self.values = {self._name(each.value): each.value for each in stored.values()}


def _same(new: Mapping[str, Stored[T]], old: Mapping[str, Stored[T]]) -> bool:
    return len(new) == len(old) and all(old.get(id_) is stored for id_, stored in new.items())
