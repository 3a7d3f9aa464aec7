"""Coroutines that begin at once and go on the moment that what they wait for is there.

A task costs a turn of the loop to begin and one more to wake after each wait. A prediction waits once, for its
replica; without those turns it spends no longer in the gateway than its own work takes.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Awaited(Generic[T]):
    """A value that comes later. A `Run` that waits for it goes on within `bring` or `fail`, a task a turn later."""

    __slots__ = ("_asyncio_future_blocking", "_error", "_loop", "_value", "is_done", "wake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_done = False
        self.wake: Callable[[], object] | None = None
        self._loop = loop
        self._error: BaseException | None = None
        self._asyncio_future_blocking = False

    def bring(self, value: T) -> None:
        self._value = value
        self._end()

    def fail(self, error: BaseException) -> None:
        """Raise this where the value is awaited; once it is there, nothing happens."""
        if not self.is_done:
            self._error = error
            self._end()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value

    def __await__(self) -> Generator["Awaited[T]", None, T]:
        if not self.is_done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    # --- what a task asks of a future -------------------------------------------------------------------------------
    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[["Awaited[T]"], object], *, context: Any = None) -> None:
        self.wake = lambda: self._loop.call_soon(callback, self, context=context)

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002
        self.fail(asyncio.CancelledError())
        return True

    def _end(self) -> None:
        self.is_done = True
        if self.wake is not None:
            self.wake()


class Run(Generic[T]):
    """One coroutine, begun by `go`; `then` gets what it returns. It may wait for futures and for `Awaited`."""

    __slots__ = ("_is_cancelled", "_then", "_waited", "_work")

    def __init__(self, work: Coroutine[Any, None, T], then: Callable[[T], None]) -> None:
        self._work = work
        self._then = then
        self._waited: Any = None
        self._is_cancelled = False

    def go(self, woken_by: object = None) -> None:  # noqa: ARG002
        """Run until it waits or ends; its errors are raised here."""
        self._waited = None
        try:
            waited = self._work.send(None)
        except StopIteration as end:
            value = end.value
        except asyncio.CancelledError:  # who cancels wants no answer
            return
        else:
            self._wait(waited)
            return
        self._then(value)

    def cancel(self) -> None:
        """Raise CancelledError where it waits, now or as soon as it does."""
        self._is_cancelled = True
        if self._waited is not None:
            self._waited.cancel()

    def _wait(self, waited: Any) -> None:
        if waited is None:  # asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(self.go)
            return
        self._waited = waited
        waited._asyncio_future_blocking = False  # noqa: SLF001  # it says that this await was taken
        if isinstance(waited, Awaited):
            waited.wake = self.go
        else:
            waited.add_done_callback(self.go)
        if self._is_cancelled:
            waited.cancel()
