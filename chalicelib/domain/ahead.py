"""An iterator run ahead in a second thread: what inflates there and what checks here share the work."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_AHEAD = 8  # items; enough that neither side waits for one slow item of the other


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, made up to eight ahead by another thread; what it raises is raised here, in order."""
    source = iter(items)
    pool = ThreadPoolExecutor(1)
    try:
        coming = deque(pool.submit(next, source, None) for _ in range(_AHEAD))
        while (item := coming.popleft().result()) is not None:
            coming.append(pool.submit(next, source, None))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
