"""Work that begins at once and goes on the moment that what it waits for is there, alone and among tasks."""

import asyncio

import pytest
import uvloop

from chalicelib.local.gateway.eager import Awaited, Run


def in_loop(main):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def add_one(awaited):
    return await awaited + 1


def test_work_that_need_not_wait_is_done_when_go_returns():
    async def main():
        came = Awaited(asyncio.get_running_loop())
        came.bring(1)
        got = []
        Run(add_one(came), got.append).go()
        return got

    assert in_loop(main) == [2]


def test_waiting_work_ends_within_the_call_that_brings_the_value():
    async def main():
        awaited, got = Awaited(asyncio.get_running_loop()), []
        Run(add_one(awaited), got.append).go()
        before = list(got)
        awaited.bring(1)
        return before, got

    assert in_loop(main) == ([], [2])


def test_a_failure_is_raised_where_the_value_is_awaited():
    async def careful(awaited):
        try:
            return await awaited
        except OSError as problem:
            return str(problem)

    async def main():
        awaited, got = Awaited(asyncio.get_running_loop()), []
        Run(careful(awaited), got.append).go()
        awaited.fail(OSError("gone"))
        awaited.fail(OSError("again"))  # comes too late to change anything
        return got

    assert in_loop(main) == ["gone"]


def test_work_may_wait_for_futures_and_for_the_next_turn():
    async def work(future):
        await asyncio.sleep(0)
        return await future + await asyncio.get_running_loop().run_in_executor(None, lambda: 1)

    async def main():
        loop = asyncio.get_running_loop()
        future, end = loop.create_future(), loop.create_future()
        Run(work(future), end.set_result).go()
        loop.call_soon(future.set_result, 1)
        return await asyncio.wait_for(end, 20)

    assert in_loop(main) == 2


@pytest.mark.parametrize("waits_for", ["an awaited", "a future"])
def test_cancelled_work_may_clean_up_and_has_no_result(waits_for):
    async def work(awaited, said):
        try:
            await awaited
        finally:
            said.set_result("cleaned up")

    async def main():
        loop = asyncio.get_running_loop()
        got, said = [], loop.create_future()
        awaited = Awaited(loop) if waits_for == "an awaited" else loop.create_future()
        run = Run(work(awaited, said), got.append)
        run.go()
        run.cancel()
        return await asyncio.wait_for(said, 20), got

    assert in_loop(main) == ("cleaned up", [])


def test_work_that_is_cancelled_before_it_waits_is_cancelled_when_it_does():
    async def main():
        awaited, got = Awaited(asyncio.get_running_loop()), []
        run = Run(add_one(awaited), got.append)
        run.cancel()
        run.go()
        return awaited.is_done, got

    assert in_loop(main) == (True, [])


def test_a_task_may_wait_for_it_as_for_a_future_and_be_cancelled():
    async def main():
        loop = asyncio.get_running_loop()
        awaited, forgotten = Awaited(loop), Awaited(loop)
        kept, cancelled = loop.create_task(add_one(awaited)), loop.create_task(add_one(forgotten))
        await asyncio.sleep(0)
        awaited.bring(1)
        cancelled.cancel()
        await asyncio.wait([kept, cancelled], timeout=20)
        return kept.result(), cancelled.cancelled()

    assert in_loop(main) == (2, True)
