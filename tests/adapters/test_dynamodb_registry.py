"""What the DynamoDB registry promises beyond the contract: spills, expiry, lost answers, and what cancels a commit."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from chalicelib.adapters.dynamodb import DynamoRegistry
from chalicelib.adapters.dynamodb_items import DEDUPE_DAYS, TIMELINE_DAYS
from chalicelib.adapters.dynamodb_spills import LARGEST, SPILLS
from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.ports import Write
from tests.aws_tables import Wire, make_table, mocked_client
from tests.fakes import FakeBucket
from tests.fakes_pipeline import FakeClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LARGE = {"text": "x" * LARGEST}


@pytest.fixture(scope="module")
def wire():
    return Wire()


@pytest.fixture(scope="module")
def shared_client(wire):
    with mocked_client(wire) as made:
        yield made


@pytest.fixture
def client(shared_client, wire):
    make_table(shared_client, "t")
    wire.tokens.clear()
    yield shared_client
    shared_client.delete_table(TableName="t")


@pytest.fixture
def clock():
    return FakeClock(NOW)


@pytest.fixture
def bucket(clock):
    return FakeBucket(clock=clock)


@pytest.fixture
def registry(client, bucket, clock):
    return DynamoRegistry(client, "t", bucket, clock)


def told(name, rollout="", **data):
    return Transition(id=name, kind="k", subject="m/1", at=NOW, message=name, rollout=rollout, data=data)


def spills(bucket):
    return [item.key for item in bucket.list(SPILLS)]


def rows(client):
    return client.scan(TableName="t")["Items"]


# --- large bodies -----------------------------------------------------------------------------------------------
def test_a_large_body_lies_in_the_bucket_and_its_row_names_it(registry, client, bucket):
    registry.commit([Write("k", "big", 0, LARGE), Write("k", "small", 0, {"text": "x" * (LARGEST - 20)})])
    (key,) = spills(bucket)
    named = {row["sk"]["S"]: row.get("spill", {}).get("S") for row in rows(client)}
    assert named == {"big": key, "small": None}
    assert json.loads(bucket.get(key)) == LARGE


def test_no_row_comes_near_what_an_item_may_hold(registry, client):
    registry.commit([Write("k", "big", 0, LARGE)], [told("t", rollout="r", text="x" * 500_000)])
    registry.commit(
        [Write("k", "all", 0, {"text": "ü" * 10_000})], [told("u", rollout="r", text="x" * (LARGEST - 500))]
    )
    assert max(len(json.dumps(row)) for row in rows(client)) < 100_000


def test_what_a_commit_replaces_or_deletes_is_gone_from_the_bucket(registry, bucket):
    registry.commit([Write("k", "a", 0, LARGE)])
    first = spills(bucket)
    registry.commit([Write("k", "a", 1, {"text": "y" * LARGEST})])
    second = spills(bucket)
    assert len(second) == 1
    assert second != first
    registry.commit([Write("k", "a", 2, None)])
    assert spills(bucket) == []


def test_a_commit_that_lost_leaves_the_winner_s_body_alone(registry, client, bucket, clock):
    other = DynamoRegistry(client, "t", bucket, clock)
    registry.commit([Write("k", "a", 0, LARGE)])
    mine = registry.get("k", "a")
    other.commit([Write("k", "a", mine.revision, {"text": "theirs" * LARGEST})])
    with pytest.raises(Conflict):
        registry.commit([Write("k", "a", mine.revision, {"text": "mine" * LARGEST})])
    assert registry.get("k", "a").body == {"text": "theirs" * LARGEST}


@pytest.mark.parametrize("read", [lambda r: [r.get("k", "a")], lambda r: r.list("k")], ids=["get", "list"])
@pytest.mark.parametrize("body", [{"text": "y" * LARGEST}, {"text": "small"}], ids=["large", "small"])
def test_a_body_that_is_replaced_between_its_row_and_itself_is_read_anew(client, bucket, clock, read, body):
    writer = DynamoRegistry(client, "t", bucket, clock)
    writer.commit([Write("k", "a", 0, LARGE)])
    overtaken = Overtaken(bucket, lambda: writer.commit([Write("k", "a", 1, body)]))
    (doc,) = read(DynamoRegistry(client, "t", overtaken, clock))
    assert (doc.revision, doc.body) == (2, body)


class Overtaken:
    """A bucket: before each of its first reads, somebody does something."""

    def __init__(self, bucket, *acts):
        self._bucket, self._acts = bucket, [*acts]

    def get(self, key):
        if self._acts:
            self._acts.pop(0)()
        return self._bucket.get(key)


def test_a_body_that_is_replaced_at_every_look_is_read_in_the_end(client, bucket, clock):
    writer = DynamoRegistry(client, "t", bucket, clock)
    writer.commit([Write("k", "a", 0, LARGE)])
    replacements = [lambda n=n: writer.commit([Write("k", "a", n, LARGE | {"n": n})]) for n in range(1, 5)]
    reader = DynamoRegistry(client, "t", Overtaken(bucket, *replacements), clock)
    assert reader.get("k", "a").body == LARGE | {"n": 4}


def test_a_store_that_deletes_nothing_just_now_fails_no_commit(client, bucket, clock):
    registry = DynamoRegistry(client, "t", Stuck(bucket), clock)
    registry.commit([Write("k", "a", 0, LARGE)])
    registry.commit([Write("k", "a", 1, {"n": 1})])
    assert registry.get("k", "a").body == {"n": 1}
    assert len(spills(bucket)) == 1


class Stuck:
    """A bucket that deletes nothing."""

    def __init__(self, bucket):
        self.put, self.get, self.list = bucket.put, bucket.get, bucket.list

    def delete(self, keys):
        raise ClientError({"Error": {"Code": "SlowDown"}}, "DeleteObjects")


def test_a_record_that_is_deleted_between_its_row_and_its_body_is_none(client, bucket, clock):
    writer = DynamoRegistry(client, "t", bucket, clock)
    writer.commit([Write("k", "a", 0, LARGE)])
    reader = DynamoRegistry(client, "t", Overtaken(bucket, lambda: writer.commit([Write("k", "a", 1, None)])), clock)
    assert reader.list("k") == []


def test_a_body_that_somebody_took_away_is_an_error_that_names_it(registry, bucket):
    registry.commit([Write("k", "a", 0, LARGE)])
    (key,) = spills(bucket)
    bucket.delete([key])
    with pytest.raises(LookupError, match=f"k a: .*{key}"):
        registry.get("k", "a")


# --- leftovers --------------------------------------------------------------------------------------------------
def test_only_old_spills_that_no_row_names_are_dropped(registry, client, bucket, clock):
    registry.commit([Write("k", "a", 0, LARGE)], [told("t", text="x" * LARGEST)])
    with pytest.raises(Conflict):
        registry.commit([Write("k", "a", 0, LARGE)], [told("u", text="x" * LARGEST)])
    registry.commit([], [told("t", text="x" * LARGEST)])  # a repeat
    kept = {row["spill"]["S"] for row in rows(client) if "spill" in row}
    left = {*spills(bucket)} - kept
    assert (len(kept), len(left)) == (2, 3)
    assert registry.drop_orphans(HOUR) == []  # they may be of a commit that goes on
    clock.tick(hours=2)
    assert {*registry.drop_orphans(HOUR)} == left
    assert {*spills(bucket)} == kept
    assert registry.get("k", "a").body == LARGE
    assert registry.unsent() == [told("t", text="x" * LARGEST)]


def test_a_body_that_a_crash_kept_from_being_deleted_is_dropped_later(client, bucket, clock):
    DynamoRegistry(client, "t", bucket, clock).commit([Write("k", "a", 0, LARGE)])
    DynamoRegistry(client, "t", bucket, clock).commit([Write("k", "a", 1, None)])  # it never read what it replaces
    clock.tick(hours=2)
    assert DynamoRegistry(client, "t", bucket, clock).drop_orphans(HOUR) != []
    assert spills(bucket) == []


def test_a_large_transition_that_was_never_sent_stays_whatever_expires(registry, client, bucket, clock):
    registry.commit([], [told("t", text="x" * LARGEST)])
    for row in rows(client):
        if "expires" in row:  # as DynamoDB will
            client.delete_item(TableName="t", Key={"pk": row["pk"], "sk": row["sk"]})
    clock.tick(days=500)
    assert registry.drop_orphans(HOUR) == []
    assert [t.id for t in registry.unsent()] == ["t"]


def test_what_isn_t_a_spill_is_left_alone(registry, bucket, clock):
    for key in ("m/1/attempt/model.mar", "_records", "_records/readme.txt", "_reports/x/y.json"):
        bucket.put(key, b"")
    clock.tick(hours=2)
    assert registry.drop_orphans(HOUR) == []


# --- expiry -----------------------------------------------------------------------------------------------------
def test_timelines_and_the_memory_of_what_was_told_expire_and_the_rest_never(registry, client):
    registry.commit([Write("k", "a", 0, {})], [told("t", rollout="r")])
    days = {row["pk"]["S"].split("#")[0]: days_left(row) for row in rows(client)}
    assert days == {
        "doc": None,
        "outbox": None,
        "transition": DEDUPE_DAYS,
        "subject": TIMELINE_DAYS,
        "rollout": TIMELINE_DAYS,
    }


def days_left(row):
    return (int(row["expires"]["N"]) - NOW.timestamp()) / 86_400 if "expires" in row else None


# --- what cancels a commit --------------------------------------------------------------------------------------
def test_a_cancelled_commit_leaves_the_table_as_it_was(registry, client):
    registry.commit([Write("k", "a", 0, {"x": 1}), Write("k", "b", 0, {})], [told("old")])
    before = rows(client)
    with pytest.raises(Conflict, match="k a is no longer at revision 7"):
        registry.commit(
            [Write("k", "b", 1, None), Write("k", "a", 7, {}), Write("k", "new", 0, LARGE)],
            [told("new", rollout="r"), told("old")],
        )
    assert rows(client) == before


def cancelled(client, *codes):
    """Have the next transaction cancelled for those reasons, one for each of its items."""
    stubber = Stubber(client)
    reasons = [{"Code": code} for code in codes]
    stubber.add_client_error(
        "transact_write_items", "TransactionCanceledException", modeled_fields={"CancellationReasons": reasons}
    )
    return stubber


@pytest.mark.parametrize(
    "codes",
    [
        ("TransactionConflict", "None", "None", "None"),
        ("None", "TransactionConflict", "None", "None"),
        ("ConditionalCheckFailed", "ConditionalCheckFailed", "None", "None"),
        ("ConditionalCheckFailed", "ThrottlingError", "None", "None"),
        ("None", "ConditionalCheckFailed", "TransactionConflict", "None"),
    ],
)
def test_two_transactions_on_one_record_and_a_lost_revision_are_conflicts(registry, client, codes):
    with cancelled(client, *codes), pytest.raises(Conflict):
        registry.commit([Write("k", "a", 0, {})], [told("t")])


@pytest.mark.parametrize(
    "codes",
    [
        ("ThrottlingError", "None", "None", "None"),
        ("None", "ConditionalCheckFailed", "ProvisionedThroughputExceeded", "None"),
        ("None", "None", "ValidationError", "None"),
        ("ItemCollectionSizeLimitExceeded", "None", "None", "None"),
    ],
)
def test_what_is_nobody_s_other_write_is_no_conflict(registry, client, codes):
    with cancelled(client, *codes), pytest.raises(ClientError, match="TransactionCanceled"):
        registry.commit([Write("k", "a", 0, {})], [told("t")])


def test_a_table_that_isn_t_there_is_the_client_s_own_error(client, bucket, clock):
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        DynamoRegistry(client, "absent", bucket, clock).commit([Write("k", "a", 0, {})])


def test_a_commit_larger_than_a_transaction_says_so_and_does_nothing(registry, client):
    registry.commit([Write("k", str(n), 0, {}) for n in range(60)], [told(str(n), rollout="r") for n in range(10)])
    before = rows(client)
    with pytest.raises(ValueError, match="101 items"):
        registry.commit([Write("l", str(n), 0, {}) for n in range(61)], [told(f"{n}", rollout="r") for n in range(10)])
    assert rows(client) == before


def test_transitions_without_writes_are_told_however_many_they_are(registry, wire):
    registry.commit([], [told("7", rollout="r")])
    wire.tokens.clear()
    registry.commit([], [told(str(n), rollout="r") for n in range(60)])
    assert len(wire.tokens) == 4  # one of them without the repeat
    assert [t.id for t in registry.unsent()] == ["7", *(str(n) for n in range(60) if n != 7)]


# --- answers that get lost --------------------------------------------------------------------------------------
@pytest.mark.parametrize("write", [Write("k", "a", 1, LARGE), Write("k", "a", 1, None), Write("k", "b", 0, {})])
def test_a_commit_whose_answer_was_lost_is_done_once_and_no_conflict(registry, wire, write):
    registry.commit([Write("k", "a", 0, {})])
    wire.tokens.clear()
    wire.lost = 1
    registry.commit([write], [told("t")])
    assert (len(wire.tokens), len({*wire.tokens})) == (2, 1)
    doc = registry.get("k", write.id)
    assert (doc and doc.body) == write.body
    assert [t.id for t in registry.unsent()] == ["t"]


def test_a_commit_without_its_repeats_is_another_commit(registry, wire):
    registry.commit([], [told("old")])
    wire.tokens.clear()
    registry.commit([Write("k", "a", 0, {})], [told("old"), told("new")])
    assert len({*wire.tokens}) == len(wire.tokens) == 2


def test_a_transition_told_by_a_commit_whose_answer_was_lost_is_told_once(registry, wire):
    wire.lost = 1
    registry.commit([], [told("t")])
    assert [t.id for t in registry.timeline(subject="m/1")] == ["t"]


# --- reading much -----------------------------------------------------------------------------------------------
def test_a_listing_goes_over_as_many_pages_as_there_are(registry, client):
    asked = []
    client.meta.events.register("before-call.dynamodb.Query", lambda **_: asked.append(1))
    for n in range(40):
        registry.commit([Write("k", f"{n:02}", 0, {"text": "x" * (LARGEST - 20)})])
    assert [d.id for d in registry.list("k")] == [f"{n:02}" for n in range(40)]
    assert len(asked) > 2


def test_a_timeline_names_whose_it_is(registry):
    registry.commit([], [told("a", rollout="r"), told("b")])
    assert [t.id for t in registry.timeline(subject="m/1", rollout="r")] == ["a"]
    assert registry.timeline(subject="m/2", rollout="r") == []
    with pytest.raises(ValueError, match="name one"):
        registry.timeline()
