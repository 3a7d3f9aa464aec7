"""What an answer makes of a delivery, and which are tried next: tables of literal values, and what always holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.deliveries import (
    AT_ONCE,
    HOLD_BACK,
    LONGEST_WAIT,
    Answer,
    Delivery,
    State,
    answered,
    asked_again,
    next_due,
    next_up,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def delivery(event="e1", subject="digits", webhook="wh", **changes):
    made = Delivery(webhook, event, "rollout.shifted", subject, place=event, body="{}", due=NOW)
    return replace(made, **changes)


def once_failed(seconds_ago, **changes):
    return delivery(attempts=1, first_tried=at(-seconds_ago), **changes)


# --- answers -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "answer", "state", "due", "refused"),
    [
        (delivery(), Answer(200, "answered 200"), "delivered", 0, False),
        (delivery(), Answer(204, "answered 204"), "delivered", 0, False),
        (delivery(), Answer(0, "no answer within 10 s"), "waiting", 1, False),
        (delivery(), Answer(500, "answered 500"), "waiting", 1, False),
        (delivery(), Answer(429, "answered 429"), "waiting", 1, False),
        (delivery(), Answer(503, "answered 503", timedelta(seconds=90)), "waiting", 90, False),
        (delivery(), Answer(503, "answered 503", timedelta(days=2)), "waiting", 3600, False),
        (delivery(), Answer(302, "answered 302"), "waiting", 1, True),
        (delivery(), Answer(404, "answered 404"), "waiting", 1, True),
        (delivery(), Answer(410, "answered 410"), "parked", 0, False),
        (once_failed(5), Answer(500, "x"), "waiting", 2, False),
        (once_failed(5, refused=True), Answer(500, "x"), "waiting", 2, False),
        (delivery(attempts=9, first_tried=NOW), Answer(500, "x"), "waiting", 512, False),
        (delivery(attempts=70, first_tried=at(-80_000)), Answer(500, "x"), "waiting", 600, False),
        (once_failed(86_399), Answer(500, "x"), "waiting", 2, False),
        (once_failed(86_400), Answer(500, "x"), "parked", 0, False),
        (once_failed(86_400), Answer(200, "x"), "delivered", 0, False),
    ],
)
def test_an_answer_settles_a_delivery_or_says_when_it_is_tried_again(before, answer, state, due, refused):
    after = answered(before, answer, patience=DAY, now=NOW, chance=0.5)
    assert (after.state, after.due, after.refused) == (state, at(due), refused)
    assert (after.attempts, after.last, after.body) == (before.attempts + 1, answer.why, before.body)
    assert (after.ended is None) == (state == "waiting")


@given(st.integers(0, 200), st.floats(0, 1))
def test_a_wait_is_a_quarter_longer_or_shorter_at_most_and_never_over_the_longest(attempts, chance):
    before = delivery(attempts=attempts, first_tried=NOW)
    wait = answered(before, Answer(500, "x"), patience=DAY, now=NOW, chance=chance).due - NOW
    plain = min(LONGEST_WAIT, timedelta(seconds=1) * 2 ** min(attempts, 20))
    assert plain * 0.749 <= wait <= plain * 1.251


def test_what_a_person_asks_for_again_begins_anew():
    parked = once_failed(86_400, state=State.PARKED, ended=NOW, last="answered 500", due=at(-5))
    assert asked_again(parked, NOW) == delivery()


# --- which go next -----------------------------------------------------------------------------------------------
FAILED = {"attempts": 1, "due": at(30)}
LONG_AGO = NOW - HOLD_BACK


@pytest.mark.parametrize(
    ("waiting", "busy", "events"),
    [
        ([], [], []),
        ([delivery("e1"), delivery("e2")], [], ["e1"]),  # one at a time of a subject
        ([delivery("e2"), delivery("e1")], [], ["e1"]),  # in the order in which they were told
        ([delivery("e1"), delivery("e2", "faces")], [], ["e1", "e2"]),
        ([delivery("e1"), delivery("e2", webhook="other")], [], ["e1", "e2"]),
        ([delivery("e1"), delivery("e2")], [("wh", "e1")], []),  # the first is being tried
        ([delivery("e1", due=at(1)), delivery("e2")], [], []),
        ([delivery("e1", **FAILED, first_tried=NOW), delivery("e2")], [], []),  # it can't be taken now: the next waits
        ([delivery("e1", **FAILED, first_tried=LONG_AGO), delivery("e2")], [], ["e2"]),  # too long for that
        ([delivery("e1", **FAILED, first_tried=NOW, refused=True), delivery("e2")], [], ["e2"]),
        ([delivery(f"e{n}", f"s{n}") for n in range(9)], [], ["e0", "e1", "e2", "e3"]),
        ([delivery(f"e{n}", f"s{n}") for n in range(9)], [("wh", "e0"), ("wh", "e1")], ["e2", "e3"]),
        ([delivery(f"e{n}", f"s{n}", webhook=f"w{n}") for n in range(9)], [], [f"e{n}" for n in range(9)]),
    ],
)
def test_the_next_deliveries_follow_from_what_waits_and_what_is_under_way(waiting, busy, events):
    assert [d.event for d in next_up(waiting, busy, NOW)] == events


@pytest.mark.parametrize(
    ("waiting", "due"),
    [
        ([], None),
        ([delivery("e1")], None),  # now
        ([delivery("e1", due=at(5)), delivery("e2", due=at(1))], 5),
        ([delivery("e1", due=at(5)), delivery("e2", "faces", due=at(1))], 1),
        ([delivery("e1", **FAILED, first_tried=NOW, refused=True), delivery("e2", due=at(40))], 30),
    ],
)
def test_the_next_look_is_when_the_next_delivery_is_due(waiting, due):
    assert next_due(waiting, [], NOW) == (None if due is None else at(due))


DELIVERIES = st.lists(
    st.builds(
        delivery,
        event=st.integers(0, 30).map(lambda n: f"e{n:02}"),
        subject=st.sampled_from(["a", "b", "c"]),
        webhook=st.sampled_from(["v", "w"]),
        due=st.integers(-5, 5).map(at),
        first_tried=st.sampled_from([None, NOW, LONG_AGO]),
        refused=st.booleans(),
    ),
    unique_by=lambda d: (d.webhook, d.event),
    max_size=30,
)


@given(DELIVERIES, st.sets(st.integers(0, 30), max_size=6))
def test_no_webhook_has_more_than_its_room_and_no_subject_two_at_once(waiting, some):
    busy = [(d.webhook, d.event) for n, d in enumerate(waiting) if n in some][:AT_ONCE]
    lanes = {(d.webhook, d.subject) for d in waiting if (d.webhook, d.event) in busy}
    chosen = next_up(waiting, busy, NOW)
    for webhook in "vw":
        assert sum(d.webhook == webhook for d in chosen) + sum(w == webhook for w, _ in busy) <= AT_ONCE
    new = [(d.webhook, d.subject) for d in chosen]
    assert len(set(new)) == len(new)
    assert not lanes & set(new) or all(earlier_is_out_of_the_way(d, waiting, busy) for d in chosen)
    assert all(d.due <= NOW and (d.webhook, d.event) not in busy for d in chosen)


def earlier_is_out_of_the_way(one, waiting, busy):
    """An attempt of a later one of the same subject may be under way; none of an earlier one is."""
    lane = [d for d in waiting if (d.webhook, d.subject) == (one.webhook, one.subject) and d.place < one.place]
    return all((d.webhook, d.event) not in busy and not (d.due <= NOW) and not d.holds_back(NOW) for d in lane)
