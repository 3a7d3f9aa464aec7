"""What the gateway counted is what the judge reads: by deployment, by time, from any thread."""

import threading
from datetime import UTC, datetime

from chalicelib.domain.traffic import EDGES_MS, Traffic
from chalicelib.local.gateway.counters import IDLE, KEPT, MOST, SLICE, Counters, Throttle
from chalicelib.local.gateway.exposition import exposition_of

BEGIN = 1_800_000_000.0


class Now:
    def __init__(self):
        self.seconds = BEGIN

    def __call__(self):
        return self.seconds


def at(seconds):
    return datetime.fromtimestamp(BEGIN + seconds, UTC)


def count(counters, status=200, milliseconds=1.0, *, deployment="v1", nonfinite=False):
    counters.count("digits", deployment, status, milliseconds, nonfinite=nonfinite)


def test_each_kind_of_answer_is_counted_as_what_it_is():
    counters = Counters(Now())
    for status in (200, 204, 400, 404, 500, 502, 504):
        count(counters, status)
    count(counters, nonfinite=True)
    seen = counters.traffic("v1", at(0))
    assert (seen.requests, seen.errors, seen.rejected, seen.nonfinite) == (8, 3, 2, 1)


def test_a_latency_stands_at_the_first_edge_that_is_not_below_it():
    counters = Counters(Now())
    for milliseconds in (EDGES_MS[0], EDGES_MS[7] - 0.0001, EDGES_MS[-1] * 2):
        count(counters, milliseconds=milliseconds)
    latencies = counters.traffic("v1", at(0)).latencies
    assert [index for index, number in enumerate(latencies) if number] == [0, 7, len(EDGES_MS)]


def test_failing_fast_is_not_being_fast():
    counters = Counters(Now())
    count(counters, 500, 0.1)
    assert sum(counters.traffic("v1", at(0)).latencies) == 0


def test_only_what_came_since_then_is_returned():
    now = Now()
    counters = Counters(now)
    for second in range(10):
        now.seconds = BEGIN + second
        count(counters)
    assert [counters.traffic("v1", at(second)).requests for second in (0, 5, 9, 10)] == [10, 5, 1, 0]


def test_deployments_are_counted_apart_and_an_unknown_one_has_nothing():
    counters = Counters(Now())
    count(counters, deployment="v1")
    assert counters.traffic("v1", at(0)).requests == 1
    assert counters.traffic("v2", at(0)) == Traffic()


def test_a_day_is_kept_and_no_more():
    now = Now()
    counters = Counters(now)
    count(counters)
    now.seconds += KEPT - 1
    count(counters)
    assert counters.traffic("v1", at(0)).requests == 2
    now.seconds += 2
    count(counters)
    assert counters.traffic("v1", at(0)).requests == 2
    assert counters.totals()[("digits", "v1")][0].requests == 3


def test_of_requests_that_never_stop_half_an_hour_is_kept():
    now = Now()
    counters = Counters(now)
    for _ in range(MOST + 50):
        count(counters)
        now.seconds += SLICE
    assert counters.traffic("v1", at(0)).requests == MOST == 1800 / SLICE


def test_what_is_gone_and_silent_is_forgotten():
    now = Now()
    counters = Counters(now)
    count(counters, deployment="gone")
    count(counters, deployment="kept")
    counters.forget(frozenset({"kept"}))
    assert counters.traffic("gone", at(0)).requests == 1
    now.seconds += IDLE + 1
    counters.forget(frozenset({"kept"}))
    assert list(counters.totals()) == [("digits", "kept")]


def test_threads_may_read_while_one_counts():
    counters = Counters()
    since = datetime.now(UTC)
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            seen.append(counters.traffic("v1", since).requests)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3000):
        count(counters)
    done.set()
    reader.join()
    assert seen == sorted(seen)
    assert counters.traffic("v1", since).requests == 3000


def test_trouble_is_told_at_once_and_once_more_after_the_last():
    told, timers = [], []
    throttle = Throttle(lambda *subject: told.append(subject), 0.25, lambda pause, *call: timers.append(call))
    for _ in range(5):
        throttle("digits", "v2")
    assert told == [("digits", "v2")]
    action, subject = timers.pop()
    action(subject)  # the pause ends: four more came in it
    assert told == [("digits", "v2")] * 2
    action, subject = timers.pop()
    action(subject)  # nothing came in this one
    assert len(told) == 2
    assert timers == []
    throttle("digits", "v2")
    assert len(told) == 3


def test_trouble_of_one_deployment_hides_no_others():
    told = []
    throttle = Throttle(lambda *subject: told.append(subject), 0.25, lambda *call: None)
    throttle("digits", "v1")
    throttle("digits", "v2")
    assert told == [("digits", "v1"), ("digits", "v2")]


def test_totals_are_told_as_prometheus_reads_them():
    counters = Counters(Now())
    count(counters, milliseconds=1.0)
    count(counters, milliseconds=2000.0)
    count(counters, 500)
    lines = exposition_of(counters.totals()).decode().splitlines()
    labels = 'deployment="v1",endpoint="digits"'
    assert f"modeldrop_requests_total{{{labels}}} 3.0" in lines
    assert f"modeldrop_errors_total{{{labels}}} 1.0" in lines
    assert f"modeldrop_latency_seconds_count{{{labels}}} 2.0" in lines
    assert f"modeldrop_latency_seconds_sum{{{labels}}} 2.001" in lines
    assert "# TYPE modeldrop_latency_seconds histogram" in lines
    assert sum(line.startswith("modeldrop_latency_seconds_bucket{") for line in lines) == 21
