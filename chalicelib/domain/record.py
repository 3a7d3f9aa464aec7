"""What a registry keeps and what it is asked to write: JSON by kind and id, with the revision that guards it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Doc:
    """A stored record: JSON by kind and id. `revision` grows with every write."""

    kind: str
    id: str
    revision: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Write:
    """A conditional write: `expected` is the revision that was read, 0 for "must not exist". No body deletes.

    A record that `expires` may be gone any time after that moment, and stays until somebody deletes it else.
    """

    kind: str
    id: str
    expected: int
    body: dict[str, Any] | None
    expires: datetime | None = None
