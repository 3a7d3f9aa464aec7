"""The registry on one DynamoDB table: a commit is one transaction, and every read is consistent.

The client is expected to retry in botocore's standard mode. A retry carries the same ClientRequestToken, so that
DynamoDB answers a transaction that took effect, but whose answer was lost, with success and not with a conflict.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from chalicelib.adapters.dynamodb_items import (
    MOST_ITEMS,
    OUTBOX,
    delete_doc,
    doc_partition,
    key,
    put_doc,
    put_transition,
    timeline_partition,
    to_text,
    to_transition,
    told_partition,
    transition_body,
    transition_id,
)
from chalicelib.adapters.dynamodb_rows import rows
from chalicelib.adapters.dynamodb_spills import Overflow, SpillName, Spills
from chalicelib.adapters.errors import code_of
from chalicelib.domain.errors import Conflict
from chalicelib.domain.record import Doc, Write
from chalicelib.domain.transition import Transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.adapters.dynamodb_items import Row

    _Told = Mapping[str, Sequence[TransactWriteItemTypeDef]]  # the items of each transition, by its id

_TOLD = "_transition"  # the kind under which large transitions spill: no record's
_FAILED = "ConditionalCheckFailed"
_CLASHED = "TransactionConflict"
_TICK = timedelta(microseconds=1)
_TOGETHER = MOST_ITEMS // 4  # transitions in a transaction of nothing else


class DynamoRegistry:
    """`pipeline.ports.Registry` on one table; safe to use from several threads, and from any number of processes."""

    def __init__(
        self, client: "DynamoDBClient", table: str, overflow: Overflow, clock: "Callable[[], datetime]"
    ) -> None:
        self._client = client
        self._table = table
        self._spills = Spills(overflow)
        self._clock = clock
        self._lock = threading.Lock()
        self._last = datetime.min.replace(tzinfo=UTC)
        self._seen: dict[tuple[str, str], str] = {}  # by kind and id, the spill that a record was last seen to have

    # --- records ------------------------------------------------------------------------------------------------
    def get(self, kind: str, id: str) -> Doc | None:  # noqa: A002 - the port's word
        """Return a record; one whose spilled body was replaced while it was read is read anew."""
        before = None
        while row := self._row(kind, id):
            if doc := self._doc(kind, row):
                return doc
            if row["spill"] == before:  # still named, and a replaced one is deleted only after its row was
                raise LookupError(f"{kind} {id}: its body should lie under {before['S']} and doesn't")
            before = row["spill"]
        return None

    def _row(self, kind: str, id: str) -> "Row | None":  # noqa: A002
        at = key(doc_partition(kind), id)
        return self._client.get_item(TableName=self._table, Key=at, ConsistentRead=True).get("Item")

    def list(self, kind: str, prefix: str = "") -> Sequence[Doc]:
        """Return the records of a kind whose ids begin with `prefix`; one that changes meanwhile is read anew."""
        found = (self._doc(kind, r) or self.get(kind, r["sk"]["S"]) for r in self._rows(doc_partition(kind), prefix))
        return [doc for doc in found if doc]

    def _doc(self, kind: str, row: "Row") -> Doc | None:
        text = self._spills.unpack(row)
        if text is None:
            return None
        self._remember(kind, row["sk"]["S"], row)
        return Doc(kind, row["sk"]["S"], int(row["revision"]["N"]), json.loads(text))

    def _remember(self, kind: str, id: str, row: "Row") -> None:  # noqa: A002
        """Keep a record's spill in mind: who replaces it deletes it."""
        if "spill" in row:
            self._seen[kind, id] = row["spill"]["S"]
        else:
            self._seen.pop((kind, id), None)

    # --- commits ------------------------------------------------------------------------------------------------
    def commit(self, writes: Sequence[Write], transitions: Sequence[Transition] = ()) -> None:
        """Do all writes or none, with their transitions, in one transaction; raises Conflict.

        A record is one item and a transition three or four of the hundred that a transaction may have; a verb writes
        a few. More is a mistake of the verb's and a ValueError: in two transactions it would no longer be all or
        none. Transitions alone need not be: they go as many as fit at a time, and a repeat tells the rest.
        """
        bodies = [self._packed(write) for write in writes]
        docs = [self._put_or_delete(write, body) for write, body in zip(writes, bodies, strict=True)]
        # Named until now at the latest: once the rows are written, these are named no more, and never again.
        replaced = [self._seen[at] for write in writes if (at := (write.kind, write.id)) in self._seen]
        for told in _groups(self._told(transitions), alone=not writes):
            self._transact(writes, docs, told)
        for write, body in zip(writes, bodies, strict=True):
            self._remember(write.kind, write.id, body)
        self._spills.forget(replaced)

    def _packed(self, write: Write) -> "Row":
        if write.body is None:
            return {}
        return self._spills.pack(write.kind, write.id, f"{write.expected + 1}", to_text(write.body))

    def _put_or_delete(self, write: Write, body: "Row") -> "TransactWriteItemTypeDef":
        at = key(doc_partition(write.kind), write.id)
        return put_doc(self._table, at, write, body) if body else delete_doc(self._table, at, write.expected)

    def _told(self, transitions: Sequence[Transition]) -> "_Told":
        """Return the items of each transition by its id; of two with one id the first counts."""
        committed = self._moment()
        unique = {t.id: t for t in reversed(transitions)}
        told: dict[str, Sequence[TransactWriteItemTypeDef]] = {}
        for place, t in enumerate(t for t in transitions if unique[t.id] is t):
            body = self._spills.pack(_TOLD, t.id, "1", to_text(transition_body(t)))
            told[t.id] = put_transition(self._table, t, body, committed=committed, place=place)
        return told

    def _moment(self) -> datetime:
        """Return the time now, and never the same twice: commits of one process keep their order."""
        with self._lock:
            self._last = max(self._clock(), self._last + _TICK)
            return self._last

    def _transact(
        self,
        writes: Sequence[Write],
        docs: "Sequence[TransactWriteItemTypeDef]",
        told: "_Told",
    ) -> None:
        """Do it all, less the transitions that were told before."""
        while items := [*docs, *chain.from_iterable(told.values())]:
            if len(items) > MOST_ITEMS:
                raise ValueError(f"a commit of {len(items)} items, and a transaction has at most {MOST_ITEMS}")
            try:
                self._client.transact_write_items(TransactItems=items, ClientRequestToken=uuid4().hex)
            except ClientError as error:
                repeats = _repeats(error, writes, told)
                told = {id_: group for id_, group in told.items() if id_ not in repeats}
            else:
                return

    # --- transitions --------------------------------------------------------------------------------------------
    def timeline(self, *, subject: str = "", rollout: str = "", limit: int = 200) -> Sequence[Transition]:
        """Return the newest `limit` of a subject or of a rollout (if both are named: of both), oldest first."""
        if not subject and not rollout:
            raise ValueError("a timeline is of a subject or of a rollout: name one")
        at = timeline_partition(subject=subject, rollout=rollout)
        newest = map(self._transition, rows(self._client, self._table, at, newest_first=True, page=limit))
        return [*islice((t for t in newest if subject in {"", t.subject}), limit)][::-1]

    def unsent(self, limit: int = 100) -> Sequence[Transition]:
        return [self._transition(row) for row in islice(self._rows(OUTBOX), limit)]

    def mark_sent(self, ids: Sequence[str]) -> None:
        """Take them out of the outbox; what isn't there was sent by another."""
        left = set(ids)
        outbox = self._rows(OUTBOX)
        while left and (row := next(outbox, None)):
            if (id_ := transition_id(row["sk"]["S"])) in left:
                self._client.delete_item(TableName=self._table, Key=key(OUTBOX, row["sk"]["S"]))
                left.remove(id_)

    def _transition(self, row: "Row") -> Transition:
        text = self._spills.unpack(row)
        if text is None:
            raise LookupError(f"{row['pk']['S']} {row['sk']['S']}: no body lies under {row['spill']['S']}")
        return to_transition(text)

    # --- leftovers ----------------------------------------------------------------------------------------------
    def drop_orphans(self, older_than: timedelta) -> Sequence[str]:
        """Delete and return the keys of spills of that age that no row names: commits that crashed or lost.

        The age must be more than a commit can take. Spills are listed before the rows are read, and a key that isn't
        named then never will be.
        """
        old = self._spills.older_than(self._clock() - older_than)
        named = {spill for partition in {*_partitions(old)} for spill in self._spilled(partition)}
        dead = [name.key for name in old if name.key not in named]
        if dead:
            self._spills.bucket.delete(dead)
        return dead

    def _spilled(self, partition: str) -> Iterator[str]:
        return (row["spill"]["S"] for row in self._rows(partition) if "spill" in row)

    def _rows(self, partition: str, prefix: str = "") -> "Iterator[Row]":
        return rows(self._client, self._table, partition, prefix=prefix)


def _groups(told: "_Told", *, alone: bool) -> "Sequence[_Told]":
    """Return what is told in one transaction each: beside writes it is all one."""
    if not alone:
        return [told]
    ids = [*told]
    starts = range(0, len(ids), _TOGETHER)
    return [{id_: told[id_] for id_ in ids[start : start + _TOGETHER]} for start in starts]


def _repeats(error: ClientError, writes: Sequence[Write], told: "_Told") -> set[str]:
    """Return which transitions were told before, if that is all that cancelled the transaction; raises Conflict."""
    if code_of(error) != "TransactionCanceledException":
        raise error
    reasons: Any = error.response.get("CancellationReasons", [])
    codes = [reason.get("Code", "None") for reason in reasons]
    lost = [write for write, code in zip(writes, codes, strict=False) if code == _FAILED]
    if lost:
        raise Conflict(f"{lost[0].kind} {lost[0].id} is no longer at revision {lost[0].expected}") from error
    if _CLASHED in codes:
        raise Conflict("another commit was at the same records at the same moment") from error
    owners = [id_ for id_, group in told.items() for _ in group]
    failed = {id_ for id_, code in zip(owners, codes[len(writes) :], strict=False) if code == _FAILED}
    if not failed or {*codes} - {"None", _FAILED}:
        raise error  # throttled, or refused for what it holds: the reasons say
    return failed


def _partitions(names: Sequence[SpillName]) -> Iterator[str]:
    """Yield where the rows are that could name those spills."""
    for name in names:
        if name.kind == _TOLD:
            yield told_partition(name.id_sha)
            yield OUTBOX
        else:
            yield doc_partition(name.kind)
