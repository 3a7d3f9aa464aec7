"""What others say, as typed commands: the only module that knows "Records".

An event is a hint. It says where to look again and nothing else is believed of it, so events may be lost, doubled or
out of order. S3's and MinIO's own notifications escape keys as a query does (`+` for a space); EventBridge's are raw.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import is_ours, upload_prefix

# Tags, ACLs and storage classes change no bytes.
_CHANGES = ("Object Created", "Object Deleted", "Object Restore Completed")
_LOOK = "look:"
RE_SYNC = "re-sync"
_KINDS = (_LOOK, "register:", "catalogue:", "advance:")  # of wake-ups (`pipeline.wakeups`)
_SHOWN = 200  # characters of a strange event in its error


@dataclass(frozen=True)
class Look:
    """Look again at the upload under this prefix: list it, that is the truth."""

    prefix: str


@dataclass(frozen=True)
class FleetChanged:
    """Observe this SageMaker endpoint again; its tags say whose it is."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)


WakeUp = str  # a name of `pipeline.wakeups`, such as "look:m/1/"


def looks_at(keys: Iterable[str]) -> Sequence[Look]:
    """Return each upload that changed keys of the drop belong to, once; our own files belong to none."""
    return [Look(prefix) for prefix in dict.fromkeys(upload_prefix(key) for key in keys if not is_ours(key))]


def parse_body(body: str | bytes) -> Sequence[Look]:
    """Return where to look after a store's event that arrived as JSON text; raises Rejected."""
    return looks_at(_changed_keys(_decoded(body)))


def parse_message(body: str | bytes) -> Sequence[WakeUp | FleetChanged]:
    """Return what to do after one message of a queue: the store's events, wake-ups, the fleet's; raises Rejected."""
    return parse_event(_decoded(body))


def parse_event(payload: object) -> Sequence[WakeUp | FleetChanged]:
    """Return what to do after one event, as a function gets it that no queue feeds; raises Rejected."""
    match payload:
        case {"wake_up": str(name)}:
            return [_known(name)]
        case {
            "source": "aws.sagemaker",
            "detail-type": "SageMaker Endpoint State Change",
            "detail": {"EndpointName": str(endpoint), **detail},
        }:
            return [FleetChanged(endpoint, _tags(detail.get("Tags")))]
        case {"source": "aws.events", "detail-type": "Scheduled Event"}:
            return [RE_SYNC]
        case _:
            return [_LOOK + look.prefix for look in looks_at(_changed_keys(payload))]


def _known(name: str) -> WakeUp:
    if name == RE_SYNC or name.startswith(_KINDS):
        return name
    kinds = ", ".join((*_KINDS, RE_SYNC))
    raise Rejected(f"wake-up {name[:_SHOWN]!r}: its kind is none of {kinds}; check who sends here", code="bad_event")


def _tags(told: object) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in told.items()} if isinstance(told, dict) else {}


def _changed_keys(payload: object) -> Iterator[str]:
    match payload:
        case {"Records": [*records]}:
            for record in records:
                yield _key_of_record(record)
        case {"Event": "s3:TestEvent"}:  # S3 sends it once, when notifications are configured
            return
        case {"source": "aws.s3", "detail-type": str(kind), "detail": {"object": {"key": str(key)}}}:
            yield from [key] if kind in _CHANGES else []
        case _:
            raise _strange("event", payload)


def _key_of_record(record: object) -> str:
    match record:
        case {"eventSource": "aws:s3" | "minio:s3", "s3": {"object": {"key": str(key)}}}:
            return unquote_plus(key)
        case _:
            raise _strange("record", record)


def _decoded(body: str | bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(
            f"event: not JSON ({error}): {body[:_SHOWN]!r}; check who sends here", code="bad_event"
        ) from error


def _strange(what: str, payload: object) -> Rejected:
    shown = repr(payload)[:_SHOWN]
    known = "S3, MinIO, SageMaker, EventBridge or our timers"
    return Rejected(f"{what}: not of {known}: {shown}; check who sends here", code="bad_event")
