"""One suite for all that counts traffic: a list of requests, the gateway's counters, and DynamoDB on moto."""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chalicelib.adapters.dynamodb_traffic import SLICE, DynamoTraffic
from chalicelib.domain.marks import MOST
from chalicelib.domain.traffic import EDGES_MS, Traffic, rate_of_late, request
from chalicelib.local.gateway.counters import Counters
from tests.aws_tables import make_table, mocked_client
from tests.fakes_pipeline import FakeClock

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)  # where slices of every length begin


@dataclass
class Listed:
    """Every request as it came: what the others must sum to."""

    clock: FakeClock
    seen: list[tuple[str, datetime, Traffic]] = field(default_factory=list)

    def count(self, deployment_id, *, status, milliseconds, nonfinite):
        one = request(status, milliseconds, nonfinite=nonfinite)
        latencies = tuple(int(at == one.latency) for at in range(len(EDGES_MS) + 1))
        counted = Traffic(1, int(one.error), int(one.rejected), int(one.nonfinite), latencies)
        self.seen.append((deployment_id, self.clock(), counted))

    def mark(self, deployment_id, names):
        self.seen += [(deployment_id, self.clock(), Traffic(marks={name: 1})) for name in names]

    def traffic(self, deployment_id, since):
        return sum((t for id_, at, t in self.seen if id_ == deployment_id and at >= since), Traffic())

    def rate(self, deployment_id):
        ages = [((self.clock() - at).total_seconds(), 1) for id_, at, _ in self.seen if id_ == deployment_id]
        return rate_of_late(ages)


@dataclass
class Gateway:
    """The gateway's counters, which also know the endpoint."""

    clock: FakeClock

    def __post_init__(self):
        self.counters = Counters(lambda: self.clock().timestamp())
        self.traffic, self.rate = self.counters.traffic, self.counters.rate
        self.mark = self.counters.mark

    def count(self, deployment_id, *, status, milliseconds, nonfinite):
        self.counters.count("e", deployment_id, status, milliseconds, nonfinite=nonfinite)


@pytest.fixture(scope="module")
def table():
    with mocked_client() as client:
        yield client, make_table(client, "t")


@pytest.fixture
def clock():
    return FakeClock(BEGIN)


@pytest.fixture(params=["list", "gateway", "dynamodb"])
def metrics(request, clock):
    if request.param == "list":
        return Listed(clock)
    if request.param == "gateway":
        return Gateway(clock)
    return DynamoTraffic(*request.getfixturevalue("table"), clock)


@pytest.fixture
def deployment():
    return f"e-{uuid4().hex}"


def count(metrics, deployment, status=200, milliseconds=1.0, *, nonfinite=False, times=1):
    for _ in range(times):
        metrics.count(deployment, status=status, milliseconds=milliseconds, nonfinite=nonfinite)


def test_nothing_counted_is_no_traffic(metrics, deployment):
    assert metrics.traffic(deployment, BEGIN) == Traffic()


def test_each_kind_of_answer_is_counted_as_what_it_is(metrics, deployment):
    for status in (200, 204, 302, 400, 404, 499, 500, 502, 504):
        count(metrics, deployment, status)
    count(metrics, deployment, nonfinite=True)
    seen = metrics.traffic(deployment, BEGIN)
    assert (seen.requests, seen.errors, seen.rejected, seen.nonfinite) == (10, 3, 3, 1)
    assert seen.answered == 7


def test_a_latency_stands_at_the_first_edge_that_is_not_below_it_and_an_error_has_none(metrics, deployment):
    for milliseconds in (0.0, EDGES_MS[0], EDGES_MS[0] + 1e-9, EDGES_MS[40] - 1e-9, EDGES_MS[-1], EDGES_MS[-1] * 2):
        count(metrics, deployment, milliseconds=milliseconds)
    count(metrics, deployment, 503, milliseconds=EDGES_MS[3])
    count(metrics, deployment, 422, milliseconds=EDGES_MS[3])
    latencies = metrics.traffic(deployment, BEGIN).latencies
    last = len(EDGES_MS) - 1
    assert {at: n for at, n in enumerate(latencies) if n} == {0: 2, 1: 1, 3: 1, 40: 1, last: 1, last + 1: 1}


def test_the_rate_is_that_of_late(metrics, deployment, clock):
    for _ in range(60):
        count(metrics, deployment, times=2)
        clock.tick(seconds=10)
    assert metrics.rate(deployment) == pytest.approx(0.2, rel=0.1)
    assert not metrics.rate(deployment + "0")
    clock.tick(seconds=3600)
    assert not metrics.rate(deployment)


def test_a_deployment_has_its_own_counts(metrics, deployment):
    count(metrics, deployment, times=3)
    count(metrics, deployment + "0", 500)
    count(metrics, deployment[:-1], 400)
    assert metrics.traffic(deployment, BEGIN) == replace(Traffic(), requests=3, latencies=latencies_of(1.0, 3))


def latencies_of(milliseconds, times):
    at = request(200, milliseconds, nonfinite=False).latency
    return tuple(times if at == index else 0 for index in range(len(EDGES_MS) + 1))


def test_from_the_beginning_of_a_slice_on_everything_counts(metrics, deployment, clock):
    for _ in range(6):
        count(metrics, deployment)
        clock.tick(seconds=SLICE)
    sums = [metrics.traffic(deployment, BEGIN + timedelta(seconds=SLICE * n)).requests for n in range(8)]
    assert sums == [6, 5, 4, 3, 2, 1, 0, 0]


def test_what_came_before_never_counts_and_what_came_a_slice_later_always_does(metrics, deployment, clock):
    choose = random.Random(4)
    listed = Listed(clock)
    moments = [BEGIN]
    for _ in range(60):
        clock.tick(seconds=choose.choice((0.0, 0.4, 3.0, 9.5, 61.0)))
        moments.append(clock())
        seen = {
            "status": choose.choice((200, 200, 429, 500)),
            "milliseconds": choose.expovariate(0.01),
            "nonfinite": choose.random() < 0.1,
        }
        metrics.count(deployment, **seen)
        listed.count(deployment, **seen)
    for since in choose.sample(moments, 8):
        counted = metrics.traffic(deployment, since)
        most = listed.traffic(deployment, since - timedelta(seconds=0.1))  # the gateway's slices
        least = listed.traffic(deployment, since + timedelta(seconds=SLICE))
        for name in ("requests", "errors", "rejected", "nonfinite"):
            assert getattr(least, name) <= getattr(counted, name) <= getattr(most, name)
        assert all(a <= b <= c for a, b, c in zip(least.latencies, counted.latencies, most.latencies, strict=True))


def test_marks_are_counted_by_name_in_their_window_and_are_no_requests(metrics, deployment, clock):
    metrics.mark(deployment, ["structure {a: number}", "structure b"])
    clock.tick(seconds=SLICE)
    metrics.mark(deployment, ["structure {a: number}"])
    metrics.mark(deployment + "0", ["structure c"])
    seen = metrics.traffic(deployment, BEGIN)
    assert (seen.marks, seen.requests) == ({"structure {a: number}": 2, "structure b": 1}, 0)
    assert metrics.traffic(deployment, BEGIN + timedelta(seconds=SLICE)).marks == {"structure {a: number}": 1}
    assert metrics.traffic(deployment, BEGIN + timedelta(seconds=2 * SLICE)).marks == {}


def test_endless_names_are_counted_as_others(request, clock, deployment):
    for metrics in (Gateway(clock), DynamoTraffic(*request.getfixturevalue("table"), clock)):
        for number in range(MOST + 20):
            metrics.mark(deployment, [f"structure {number}"])
        marks = metrics.traffic(deployment, BEGIN).marks
        assert len(marks) == MOST + 1
        assert marks["structure other"] == 20
