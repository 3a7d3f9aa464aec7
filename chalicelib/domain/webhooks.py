"""A webhook: a URL that events are told to by a signed POST, and which. An operator names it; a drop never does."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Secret:
    """`until` is when a secret that was replaced stops signing."""

    value: str = field(repr=False)
    created: datetime
    until: datetime | None = None


@dataclass(frozen=True)
class Webhook:
    """`private` lets it lead into the site's own network; `patience` is how long a delivery is tried."""

    id: str
    url: str
    kinds: tuple[str, ...]
    secrets: tuple[Secret, ...]  # the newest first
    created: datetime
    private: bool = False
    patience: timedelta = timedelta(days=1)

    def takes(self, kind: str) -> bool:
        return any(fnmatchcase(kind, pattern) for pattern in self.kinds)

    def signing(self, now: datetime) -> list[str]:
        """Return the secrets that sign now, the newest first."""
        return [s.value for s in self.secrets if s.until is None or now < s.until]
