"""What the DynamoDB counters promise beyond the contract: which slice is left out, many writers, and an end."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.adapters.dynamodb_traffic import KEPT, SHARDS, SLICE, DynamoTraffic
from chalicelib.domain.traffic import EDGES_MS
from tests.aws_tables import make_table, mocked_client
from tests.fakes_pipeline import FakeClock

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shared_client():
    with mocked_client() as made:
        yield made


@pytest.fixture
def client(shared_client):
    yield shared_client
    shared_client.delete_table(TableName="t")


@pytest.fixture
def clock():
    return FakeClock(BEGIN)


@pytest.fixture
def traffic(client, clock):
    return DynamoTraffic(client, make_table(client, "t"), clock)


def count(traffic, times=1, **changes):
    for _ in range(times):
        traffic.count("d", **{"status": 200, "milliseconds": 1.0, "nonfinite": False} | changes)


@pytest.mark.parametrize(
    ("after", "requests"),
    [(0, 2), (0.001, 1), (5, 1), (SLICE - 0.001, 1), (SLICE, 1), (SLICE + 0.001, 0)],
)
def test_a_slice_that_holds_requests_of_before_is_left_out_whole(traffic, clock, after, requests):
    clock.tick(seconds=4)
    count(traffic)
    clock.tick(seconds=SLICE)
    count(traffic)
    assert traffic.traffic("d", BEGIN + timedelta(seconds=after)).requests == requests


def test_no_request_of_many_writers_is_lost(traffic):
    threads = [threading.Thread(target=count, args=(traffic, 5), kwargs={"status": 500}) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    seen = traffic.traffic("d", BEGIN)
    assert (seen.requests, seen.errors) == (40, 40)


def test_counters_are_spread_over_partitions_and_expire_a_day_later(traffic, client):
    count(traffic, 150)
    rows = client.scan(TableName="t")["Items"]
    assert {row["pk"]["S"] for row in rows} == {f"traffic#d#{shard}" for shard in range(SHARDS)}
    assert {row["expires"]["N"] for row in rows} == {f"{BEGIN.timestamp() + KEPT:.0f}"}


def test_the_wide_buckets_of_an_older_build_are_still_read(traffic, client):
    """It had 82 edges, each a fifth above the one before, and an open bucket beyond the last."""
    count(traffic, milliseconds=EDGES_MS[28])
    wide = {"latency0": {"N": "2"}, "latency7": {"N": "4"}, "latency82": {"N": "1"}}
    client.put_item(
        TableName="t",
        Item={"pk": {"S": "traffic#d#0"}, "sk": {"S": f"{BEGIN.timestamp() + SLICE:.0f}"}, "requests": {"N": "7"}}
        | wide,
    )
    seen = traffic.traffic("d", BEGIN)
    assert seen.requests == 8
    assert {at: n for at, n in enumerate(seen.latencies) if n} == {0: 2, 28: 5, len(EDGES_MS): 1}


def test_what_nobody_judges_counts_for_the_rate_and_is_no_evidence(traffic, clock):
    for _ in range(6):
        traffic.tally("d", 25)
        count(traffic, 5)
        clock.tick(seconds=SLICE)
    assert traffic.rate("d") == pytest.approx(3.0, rel=0.2)
    assert traffic.traffic("d", BEGIN).requests == 30


def test_a_sum_goes_over_as_many_pages_as_there_are(traffic, client, clock):
    """A page of a query has at most 1 MB: of 32 rows of 390 kB, some of the 8 partitions has more than that."""
    for _ in range(4 * SHARDS):
        count(traffic)
        clock.tick(seconds=SLICE)
    for row in client.scan(TableName="t")["Items"]:
        client.put_item(TableName="t", Item={**row, "pad": {"S": "x" * 390_000}})
    assert traffic.traffic("d", BEGIN).requests == 4 * SHARDS


def test_a_name_is_taken_once_a_day():
    with mocked_client() as client:
        traffic = DynamoTraffic(client, make_table(client, "taken"), FakeClock())
        assert [traffic.take(name) for name in ("a", "a", "b", "a")] == [True, False, True, False]
