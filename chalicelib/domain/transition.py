"""What is told to the world: one transition of one subject, with a stable id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# Of what events look like, `domain.event_data`. Additions raise the second number, once for each release.
SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Transition:
    """An event for people, CI systems and the timeline.

    `id` is the same on every retry, so that a receiver can tell a repeat. `kind` is stable and documented, such as
    `version.registered` or `rollout.shifted`. `subject` is what it is about: `MODEL/VERSION` or an endpoint's name.
    `data` is as `domain.event_data` says of the kind.
    """

    id: str
    kind: str
    subject: str
    at: datetime
    message: str
    rollout: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    schema_version: str = SCHEMA_VERSION
