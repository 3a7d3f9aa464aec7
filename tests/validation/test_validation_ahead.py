"""What runs ahead of its reader keeps order, stops at a bound, and fails where the reader comes to it."""

import threading
import time

import pytest

from chalicelib.domain.ahead import ahead


class Counted:
    """Numbers that know how many were made; at `broken` it raises instead."""

    def __init__(self, broken=None):
        self.made = 0
        self.broken = broken
        self.threads = set()

    def __iter__(self):
        for n in range(1_000):
            if n == self.broken:
                raise ValueError(n)
            self.threads.add(threading.get_ident())
            self.made += 1
            yield n


def until(claim):
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_all_items_come_in_their_order_and_are_made_by_another_thread():
    source = Counted()
    assert list(ahead(source)) == list(range(1_000))
    assert threading.get_ident() not in source.threads


def test_no_more_than_eight_items_are_made_before_they_are_asked_for():
    source = Counted()
    items = ahead(source)
    for taken in range(1, 100):
        assert next(items) == taken - 1
        until(lambda taken=taken: source.made == taken + 8)
    items.close()


def test_what_the_source_raises_is_raised_after_the_items_before_it():
    items = ahead(Counted(broken=20))
    assert [next(items) for _ in range(20)] == list(range(20))
    with pytest.raises(ValueError, match="20"):
        next(items)


def test_a_reader_that_stops_leaves_no_thread_behind():
    before = threading.active_count()
    items = ahead(Counted())
    next(items)
    items.close()
    assert threading.active_count() == before
