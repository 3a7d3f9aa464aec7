"""What is asked at a gate: may this rollout go on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """The same for as long as the rollout waits at the gate; it is asked again and again until the answer is yes."""

    endpoint: str
    version: str  # MODEL/VERSION
    rollout: str  # id
    before: int  # percent of the step that waits
    reason: str  # why the rollout is where it is, with numbers
