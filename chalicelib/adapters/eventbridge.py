"""The bus on AWS: every transition becomes an event that rules, pipelines and people can match."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.domain.transition import Transition

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "modeldrop"
MOST_ENTRIES = 10  # of one request
MOST_BYTES = 256_000  # of one request; AWS stops at 256 KiB
MOST_DETAIL = 250_000  # bytes of one detail; the rest of its request is for the other fields
_MOST_FIELD = 2_000  # bytes of each field that stays when a detail has to be cut
_OVERHEAD = 14  # bytes that AWS counts for the time


class NotPublished(Exception):
    """The bus took a request and not all of its events: they stay in the outbox and are sent again."""


@dataclass(frozen=True)
class EventBus:
    """`pipeline.ports.Bus` on a custom bus of EventBridge: source `modeldrop`, the kind as its detail-type.

    `to_json` gives a transition's JSON form, the one that the timeline has, too.
    """

    client: "Callable[[], EventBridgeClient]"  # made when it is first needed
    name: str
    to_json: Callable[[Transition], Mapping[str, Any]]

    def publish(self, transitions: Sequence[Transition]) -> None:
        """Send all in order; raises NotPublished or botocore's ClientError, and then some may be sent twice."""
        for batch in _batches([self._entry(t) for t in transitions]):
            answer = self.client().put_events(Entries=batch)
            if answer["FailedEntryCount"]:
                codes = Counter(e["ErrorCode"] for e in answer["Entries"] if "ErrorCode" in e)
                failed = ", ".join(f"{code} ({count})" for code, count in sorted(codes.items())) or "no code"
                of = f"{answer['FailedEntryCount']} of {len(batch)} events"
                raise NotPublished(f"bus {self.name}: {of} were refused: {failed}; they are sent again")

    def _entry(self, transition: Transition) -> "PutEventsRequestEntryTypeDef":
        return {
            "EventBusName": self.name,
            "Source": SOURCE,
            "DetailType": transition.kind,
            "Detail": self._detail(transition),
            "Time": transition.at,
        }

    def _detail(self, transition: Transition) -> str:
        told = self.to_json(transition)
        whole = _dumps(told)
        return whole if len(whole) <= MOST_DETAIL else _dumps(shortened(told, len(whole)))


def shortened(told: Mapping[str, Any], length: int) -> dict[str, Any]:
    """Return a transition's JSON that says what was cut of it: large fields of its data are named with their sizes."""
    sizes = {key: len(_dumps(value)) for key, value in told["data"].items()}
    large = {key: size for key, size in sizes.items() if size > _MOST_FIELD}
    kept = {key: value for key, value in told["data"].items() if key not in large}
    why = f"the event had {length} bytes and may have {MOST_DETAIL}; the timeline has the whole under the same id"
    return {**told, "message": told["message"][:_MOST_FIELD], "data": {**kept, "cut": {"why": why, "bytes": large}}}


def _batches(
    entries: Sequence["PutEventsRequestEntryTypeDef"],
) -> Iterator[Sequence["PutEventsRequestEntryTypeDef"]]:
    """Split entries into requests that are neither too many nor too large, in order."""
    batch: list[PutEventsRequestEntryTypeDef] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == MOST_ENTRIES or size + _size(entry) > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += _size(entry)
    if batch:
        yield batch


def _size(entry: "PutEventsRequestEntryTypeDef") -> int:
    """Count as AWS does."""
    texts = (entry["Source"], entry["DetailType"], entry["Detail"])
    return _OVERHEAD + sum(len(text.encode()) for text in texts)


def _dumps(value: Any) -> str:
    """Return ASCII JSON, so that its length is its size."""
    return json.dumps(value)
