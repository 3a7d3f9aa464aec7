"""When a call is made, how large it is, and what becomes of requests that wait, leave or fill the memory."""

import asyncio
import threading
from collections import deque

import numpy as np
import pytest
from modelserver.batching import FORGET_CALLS, SHORT_CALLS, Pace, Turn, batch_limit, next_batch, rows_each, wait_s
from modelserver.engine import Engine, Job, ModelThread
from modelserver.errors import RequestError
from modelserver.metrics import Histogram, ServingMetrics
from modelserver.outcomes import predict_each
from modelserver.rows import HandlerRows, Prediction, TensorRows

LONG = Turn(requests=1, rows=1, expected=8, limit=32, call_s=0.02)


@pytest.mark.parametrize(
    ("turn", "max_delay_s", "seconds"),
    [
        (LONG, 1.0, 0.001),  # 5 % of a long call, for seven more that are expected
        (LONG, 0.0004, 0.0004),  # the model's own maxBatchDelay is less
        (Turn(1, 1, expected=1, limit=32, call_s=0.02), 1.0, 0.0),  # a lone client
        (Turn(8, 8, expected=8, limit=32, call_s=0.02), 1.0, 0.0),  # all have come
        (Turn(1, 32, expected=8, limit=32, call_s=0.02), 1.0, 0.0),  # the call is full
        (Turn(2, 2, expected=8, limit=2, call_s=0.02), 1.0, 0.0),  # larger calls gain nothing
        (Turn(1, 1, expected=8, limit=32, call_s=0.004), 1.0, 0.0),  # the call is short
    ],
)
def test_a_free_model_waits_only_where_calls_are_long_and_more_is_expected(turn, max_delay_s, seconds):
    assert wait_s(turn, max_delay_s) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("rows_per_second", "limit"),
    [
        ({}, 32),  # nothing is known
        ({1: 50}, 32),  # the largest seen is the best: larger ones may be tried
        ({1: 50, 2: 95, 4: 170, 8: 266}, 32),
        ({1: 50, 8: 266, 16: 270, 32: 272}, 8),  # within 5 % of the best from 8 on
        ({1: 50, 2: 51, 4: 51}, 1),  # time grows with the rows
        ({8: 300, 16: 200, 32: 100}, 8),  # larger is worse
        ({16: 100, 64: 99}, 16),
    ],
)
def test_the_batch_limit_is_where_throughput_stops_growing(rows_per_second, limit):
    assert batch_limit(rows_per_second, 32) == limit


def test_the_limit_is_learned_from_long_calls_and_forgotten_in_time():
    pace = Pace(may_be_short=True, most=32)
    for rows, seconds in ((1, 0.02), (8, 0.03), (32, 0.12)) * 2:
        pace.note(rows, seconds)
    assert pace.limit == 32  # twice may be chance
    for rows, seconds in ((1, 0.02), (8, 0.09), (8, 0.03), (32, 0.12)):
        pace.note(rows, seconds)
    assert pace.limit == 8  # one slow call of eight says nothing
    for _ in range(FORGET_CALLS):
        pace.note(8, 0.03)
    assert pace.limit == 32


def test_one_slow_call_among_short_ones_does_not_end_calls_on_the_loop():
    pace = Pace(may_be_short=True, most=32)
    for _ in range(3 * SHORT_CALLS):
        pace.note(1, 0.0001, on_loop=pace.is_short)
    pace.note(1, 0.002, on_loop=True)
    assert pace.is_short
    pace.note(1, 0.002, on_loop=True)
    assert not pace.is_short


def test_a_wait_in_vain_is_not_repeated_for_a_while_that_grows_until_one_gains():
    pace = Pace(may_be_short=False, most=32)

    def calls_until_patient():
        return next(i for i in range(100) if pace.has_patience())

    rests = []
    for gained in (False, False, False, True, False):
        pace.waited(gained=gained)
        rests.append(calls_until_patient())
    assert rests == [2, 4, 8, 0, 2]


class Clients:
    """A real engine on a real model thread; each client asks again as soon as it is answered."""

    def __init__(self, predict, threads=1, **pace):
        self.sizes = []
        self.metrics = ServingMetrics()
        self.engine = Engine(
            lambda batch: self.sizes.append(len(batch)) or predict(batch),
            [ModelThread() for _ in range(threads)],
            max_queue=100,
            timeout_s=30,
            observer=self.metrics,
            pace=Pace(**{"may_be_short": False, "most": 32, **pace}),
        )

    async def ask(self, value=1):
        outcome = asyncio.get_running_loop().create_future()
        self.engine.submit(Job(tensors(value), outcome.set_result))
        return await outcome


def tensors(value, rows=1):
    return TensorRows({"x": np.full((rows, 1), value)}, rows)


def echoed(batch):
    return [Prediction(rows.inputs["x"]) for rows in batch]


def test_clients_that_would_take_turns_by_halves_come_to_share_calls():
    calls_s = 0.02

    def slow(batch):
        threading.Event().wait(calls_s)
        return echoed(batch)

    async def main():
        clients = Clients(slow)

        async def again_and_again():
            for _ in range(12):
                await clients.ask()

        await asyncio.gather(*(again_and_again() for _ in range(4)))
        return clients.sizes

    # The first call has whoever came first; a wait then lets the others join.
    assert 4 in asyncio.run(main())


def test_long_calls_of_two_threads_share_what_is_open_and_run_beside_each_other():
    beside, most, sizes = [], [], []

    def slow(batch):
        beside.append(1)
        most.append(len(beside))
        sizes.append(len(batch))
        threading.Event().wait(0.02)
        beside.pop()
        return echoed(batch)

    async def main():
        clients = Clients(slow, threads=2)

        async def again_and_again(client):
            return [int((await clients.ask(client)).values[0, 0]) for _ in range(12)]

        answers = await asyncio.gather(*(again_and_again(client) for client in range(8)))
        ended = asyncio.Event()
        clients.engine.retire(ended.set)
        await asyncio.wait_for(ended.wait(), 30)
        return answers

    assert asyncio.run(main()) == [[client] * 12 for client in range(8)]
    assert max(most) == 2
    # Only the first call, made before anything was known of its length, may have had them all.
    assert max(sizes[1:]) <= 7
    assert 4 in sizes


def test_short_calls_are_made_one_after_another():
    beside = []

    def quick(batch):
        assert not beside
        beside.append(1)
        threading.Event().wait(0.0001)
        beside.pop()
        return echoed(batch)

    async def main():
        clients = Clients(quick, threads=2)
        return await asyncio.gather(*(clients.ask(client) for client in range(50)))

    assert len(asyncio.run(main())) == 50


@pytest.mark.parametrize(("rows", "threads", "each"), [(8, 2, 4), (7, 2, 4), (1, 2, 1), (32, 1, 32), (3, 4, 1)])
def test_open_rows_are_shared_by_the_threads(rows, threads, each):
    assert rows_each(rows, threads) == each


def test_a_client_that_leaves_takes_its_rows_out_of_the_queue():
    gate, seen = threading.Event(), []

    def gated(batch):
        gate.wait(30)
        seen.extend(int(rows.inputs["x"][0, 0]) for rows in batch)
        return echoed(batch)

    async def main():
        clients = Clients(gated)
        first = asyncio.create_task(clients.ask(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert clients.engine.running == 1
        gone = Job(tensors(2), lambda outcome: pytest.fail(f"answered {outcome}"))
        clients.engine.submit(gone)
        last = asyncio.create_task(clients.ask(3))
        await asyncio.sleep(0)
        clients.engine.cancel(gone)
        clients.engine.cancel(gone)
        gate.set()
        await asyncio.gather(first, last)
        return clients.engine.waiting

    assert asyncio.run(main()) == 0
    assert seen == [1, 3]


def test_a_retired_engine_answers_what_is_open_before_it_says_so():
    async def main():
        clients, ended = Clients(echoed), asyncio.Event()
        answers = [asyncio.create_task(clients.ask(i)) for i in range(3)]
        await asyncio.sleep(0)
        clients.engine.retire(ended.set)
        assert not ended.is_set()
        values = [int(answer.values[0, 0]) for answer in await asyncio.gather(*answers)]
        await asyncio.wait_for(ended.wait(), 30)
        idle, ended = Clients(echoed), asyncio.Event()
        idle.engine.retire(ended.set)
        return values, ended.is_set()

    assert asyncio.run(main()) == ([0, 1, 2], True)


class OutOfMemoryError(RuntimeError):
    """As Torch names its own."""


def with_room_for(rows):
    def predict(batch):
        if sum(r.count for r in batch) > rows:
            raise OutOfMemoryError("no memory")
        return [Prediction([2 * row for row in r.rows]) for r in batch]

    return predict


def test_a_batch_that_fills_the_memory_is_halved_once_and_never_tried_as_large_again():
    learned = []
    batch = [HandlerRows([i]) for i in range(4)]
    answers = predict_each(with_room_for(2), batch, learned.append)
    assert [answer.values for answer in answers] == [[0], [2], [4], [6]]
    assert learned == [4]
    pace = Pace(may_be_short=False, most=32)
    pace.ran_out_of_memory(4)
    assert (pace.most, pace.limit) == (2, 2)


def test_who_still_does_not_fit_is_told_so_and_the_others_are_answered():
    small, large = HandlerRows([1]), HandlerRows([1, 2, 3])
    answer, refused = predict_each(with_room_for(2), [small, large])
    assert answer.values == [2]
    assert (refused.status, refused.code, refused.retry_after) == (503, "out_of_memory", 1)
    [alone] = predict_each(with_room_for(2), [large])
    assert isinstance(alone, RequestError)


def test_next_batch_keeps_to_the_limit_in_rows():
    queue = deque(Job(tensors(1, rows), print) for rows in (2, 1, 2))
    assert [job.rows.count for job in next_batch(queue, 4)] == [2, 1]
    assert len(queue) == 1


def test_histograms_and_stages_are_told_as_prometheus_expects():
    one = Histogram((0.1, 1.0))
    for value in (0.1, 0.5, 7):
        one.add(value)
    assert (one.cumulated(), one.total) == ([("0.1", 1.0), ("1", 2.0), ("+Inf", 3.0)], 7.6)
    metrics = ServingMetrics()
    metrics.answered(200, 0.002, nonfinite=2)
    metrics.queued(0.001)
    metrics.batch(3, 0.004)
    lines = metrics.text().decode().splitlines()
    for line in (
        'modeldrop_requests_total{status="200"} 1.0',
        "modeldrop_nonfinite_total 2.0",
        'modeldrop_stage_seconds_count{stage="queue"} 1.0',
        'modeldrop_stage_seconds_bucket{le="0.001",stage="queue"} 1.0',
        'modeldrop_batch_rows_bucket{le="4"} 1.0',
        "modeldrop_batch_rows_sum 3.0",
    ):
        assert line in lines
