"""A registry in memory: same promises as the one in SQLite, held to them by the same contract suite."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.ports import Doc, Write


class FakeRegistry:
    """`check` is given every transition before it is kept."""

    def __init__(self, check: Callable[[Transition], None] = lambda _: None) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._docs: dict[tuple[str, str], tuple[int, str]] = {}  # bodies as text, so nobody shares a dict with us
        self._transitions: dict[str, Transition] = {}
        self._sent: set[str] = set()

    def get(self, kind: str, id: str) -> Doc | None:  # noqa: A002
        with self._lock:
            found = self._docs.get((kind, id))
        return _doc(kind, id, found) if found else None

    def list(self, kind: str, prefix: str = "") -> Sequence[Doc]:
        with self._lock:
            docs = sorted(self._docs.items())
        return [_doc(kind, id_, found) for (k, id_), found in docs if k == kind and id_.startswith(prefix)]

    def commit(self, writes: Sequence[Write], transitions: Sequence[Transition] = ()) -> None:
        for transition in transitions:
            self._check(transition)
        with self._lock:
            docs = dict(self._docs)
            for write in writes:
                _apply(docs, write)
            self._docs = docs
            for transition in transitions:
                self._transitions.setdefault(transition.id, transition)

    def timeline(self, *, subject: str = "", rollout: str = "", limit: int = 200) -> Sequence[Transition]:
        with self._lock:
            known = list(self._transitions.values())
        return [t for t in known if subject in ("", t.subject) and rollout in ("", t.rollout)][-limit:]

    def unsent(self, limit: int = 100) -> Sequence[Transition]:
        with self._lock:
            return [t for t in self._transitions.values() if t.id not in self._sent][:limit]

    def mark_sent(self, ids: Sequence[str]) -> None:
        with self._lock:
            self._sent.update(ids)


def _doc(kind: str, id_: str, found: tuple[int, str]) -> Doc:
    body: dict[str, Any] = json.loads(found[1])
    return Doc(kind, id_, found[0], body)


def _apply(docs: dict[tuple[str, str], tuple[int, str]], write: Write) -> None:
    at = (write.kind, write.id)
    revision = docs[at][0] if at in docs else 0
    if revision != write.expected:
        raise Conflict(f"{write.kind} {write.id} is at revision {revision}, not {write.expected}")
    if write.body is None:
        docs.pop(at, None)
    else:
        docs[at] = (revision + 1, json.dumps(write.body))
