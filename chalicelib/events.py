"""What others say, as typed commands: the only module that knows "Records".

An event is a hint. It says where to look again and nothing else is believed of it, so events may be lost, doubled or
out of order. S3's and MinIO's own notifications escape keys as a query does (`+` for a space); EventBridge's are raw.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import is_ours, upload_prefix

# Tags, ACLs and storage classes change no bytes.
_CHANGES = ("Object Created", "Object Deleted", "Object Restore Completed")
_SHOWN = 200  # characters of a strange event in its error


@dataclass(frozen=True)
class Look:
    """Look again at the upload under this prefix: list it, that is the truth."""

    prefix: str


def looks_at(keys: Iterable[str]) -> Sequence[Look]:
    """Return each upload that changed keys of the drop belong to, once; our own files belong to none."""
    return [Look(prefix) for prefix in dict.fromkeys(upload_prefix(key) for key in keys if not is_ours(key))]


def parse_changes(payload: Mapping[str, Any]) -> Sequence[Look]:
    """Return where to look after an event of S3, MinIO or EventBridge, bare or in SQS messages; raises Rejected."""
    return looks_at(_changed_keys(payload))


def parse_body(body: str | bytes) -> Sequence[Look]:
    """Return where to look after an event that arrived as JSON text; raises Rejected."""
    return looks_at(_changed_keys(_decoded(body)))


def _changed_keys(payload: object) -> Iterator[str]:
    match payload:
        case {"Records": [*records]}:
            for record in records:
                yield from _keys_of_record(record)
        case {"Event": "s3:TestEvent"}:  # S3 sends it once, when notifications are configured
            return
        case {"source": "aws.s3", "detail-type": str(kind), "detail": {"object": {"key": str(key)}}}:
            yield from [key] if kind in _CHANGES else []
        case _:
            raise _strange("event", payload)


def _keys_of_record(record: object) -> Iterator[str]:
    match record:
        case {"eventSource": "aws:s3" | "minio:s3", "s3": {"object": {"key": str(key)}}}:
            yield unquote_plus(key)
        case {"eventSource": "aws:sqs", "body": str(body)}:
            yield from _changed_keys(_decoded(body))
        case _:
            raise _strange("record", record)


def _decoded(body: str | bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise Rejected(f"event: not JSON ({error}): {body[:_SHOWN]!r}; send S3's own", code="bad_event") from error


def _strange(what: str, payload: object) -> Rejected:
    shown = repr(payload)[:_SHOWN]
    return Rejected(f"{what}: not of S3, MinIO, EventBridge or SQS: {shown}; check who sends here", code="bad_event")
