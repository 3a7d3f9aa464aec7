"""The rows of the registry's table: their keys, their attributes, and what becomes of a body that is too large.

One table, keys `pk` and `sk` (strings), `expires` (epoch seconds) is its TTL attribute:

| pk | sk | what |
|---|---|---|
| `doc#KIND` | ID | a record: `revision`, its JSON as text in `body` or, if that is large, its key in `spill` |
| `transition#SHA` | `-` | that this transition was told: what keeps a repeat out |
| `subject#SUBJECT`, `rollout#ROLLOUT` | MOMENT`#`PLACE`#`ID | a transition in a timeline |
| `outbox` | MOMENT`#`PLACE`#`ID | a transition that wasn't sent yet |

MOMENT is when it was committed, PLACE its place in that commit, so a row's `sk` sorts as things happened. A record that
may be forgotten has `expires`, too.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from chalicelib.domain.record import Write
from chalicelib.domain.transition import Transition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

    Row = Mapping[str, AttributeValueTypeDef]

DEDUPE_DAYS = 400
TIMELINE_DAYS = 180
MOST_ITEMS = 100  # DynamoDB's own limit of a transaction
OUTBOX = "outbox"


def sha(id: str) -> str:  # noqa: A002 - the record's word
    """Return an id as it stands in keys that mustn't hold just any character."""
    return hashlib.sha256(id.encode()).hexdigest()


def doc_partition(kind: str) -> str:
    return f"doc#{kind}"


def told_partition(id_sha: str) -> str:
    return f"transition#{id_sha}"


def timeline_partition(*, subject: str = "", rollout: str = "") -> str:
    return f"rollout#{rollout}" if rollout else f"subject#{subject}"


def key(pk: str, sk: str = "-") -> "Row":
    return {"pk": {"S": pk}, "sk": {"S": sk}}


# --- conditional writes of records ------------------------------------------------------------------------------
def put_doc(table: str, at: "Row", write: Write, body: "Row") -> "TransactWriteItemTypeDef":
    """Return the write of a record; an expected revision of 0 means that there must be none."""
    expected = write.expected
    expires: Row = {"expires": {"N": str(int(write.expires.timestamp()))}} if write.expires else {}
    item = {**at, "revision": {"N": str(expected + 1)}, **body, **expires}
    condition = _at_revision(expected) if expected else _ABSENT
    return cast("TransactWriteItemTypeDef", {"Put": {"TableName": table, "Item": item, **condition}})


def delete_doc(table: str, at: "Row", expected: int) -> "TransactWriteItemTypeDef":
    return cast("TransactWriteItemTypeDef", {"Delete": {"TableName": table, "Key": at, **_at_revision(expected)}})


_ABSENT: Mapping[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}


def _at_revision(expected: int) -> Mapping[str, Any]:
    return {
        "ConditionExpression": "#revision = :expected",
        "ExpressionAttributeNames": {"#revision": "revision"},
        "ExpressionAttributeValues": {":expected": {"N": str(expected)}},
    }


# --- transitions ------------------------------------------------------------------------------------------------
def put_transition(
    table: str, transition: Transition, body: "Row", *, committed: datetime, place: int
) -> Sequence["TransactWriteItemTypeDef"]:
    """Return the writes that tell a transition; the first fails if it was told before."""
    told = {**key(told_partition(sha(transition.id))), **_spill_of(body), "expires": _after(committed, DEDUPE_DAYS)}
    rows = _transition_rows(transition, body, committed=committed, place=place)
    puts: list[dict[str, Any]] = [{"Item": told, **_ABSENT}, *({"Item": row} for row in rows)]
    return [cast("TransactWriteItemTypeDef", {"Put": {"TableName": table, **put}}) for put in puts]


def _transition_rows(transition: Transition, body: "Row", *, committed: datetime, place: int) -> Iterator["Row"]:
    sk = f"{committed.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}#{place:04}#{transition.id}"
    expires = _after(committed, TIMELINE_DAYS)
    yield {**key(timeline_partition(subject=transition.subject), sk), **body, "expires": expires}
    if transition.rollout:
        yield {**key(timeline_partition(rollout=transition.rollout), sk), **body, "expires": expires}
    yield {**key(OUTBOX, sk), **body}  # never expires: what wasn't sent isn't lost


def _after(moment: datetime, days: int) -> "AttributeValueTypeDef":
    return {"N": str(int((moment + timedelta(days=days)).timestamp()))}


def _spill_of(body: "Row") -> "Row":
    return {name: value for name, value in body.items() if name == "spill"}


def transition_id(sk: str) -> str:
    """Return the id in the sort key of a timeline's or the outbox's row."""
    return sk.split("#", 2)[2]


# --- JSON -------------------------------------------------------------------------------------------------------
def to_text(body: Mapping[str, Any]) -> str:
    """Return compact JSON in ASCII: as many bytes as characters."""
    return json.dumps(body, separators=(",", ":"))


def transition_body(transition: Transition) -> dict[str, Any]:
    return {
        "id": transition.id,
        "kind": transition.kind,
        "subject": transition.subject,
        "at": transition.at.isoformat(),
        "message": transition.message,
        "rollout": transition.rollout,
        "data": dict(transition.data),
        "schema_version": transition.schema_version,
    }


def to_transition(text: str) -> Transition:
    body = json.loads(text)
    return Transition(**{**body, "at": datetime.fromisoformat(body["at"])})
