"""What EventBus asks of EventBridge: requests within its limits, in order, and no event that is lost silently."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.adapters.eventbridge import MOST_BYTES, MOST_DETAIL, MOST_ENTRIES, EventBus, NotPublished
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.records import to_json
from tests.eventbridge_world import BUS, BusWorld
from tests.fakes_pipeline import fake_ports

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DATA = {"endpoint": "digits", "version": "digits/v2", "split": {"v1": 75, "v2": 25}}
ONE = Transition("00", "rollout.shifted", "digits", NOW, "5 % → 25 %", "r-1", DATA)


def numbered(count, **changes):
    return [replace(ONE, id=f"{n:02}", **changes) for n in range(count)]


class Answering:
    """A client that keeps the requests and answers each with the error codes of its entries, "" for none."""

    def __init__(self, *answers):
        self.requests = []
        self._answers = list(answers)

    def put_events(self, **request):
        self.requests.append(request["Entries"])
        codes = self._answers.pop(0) if self._answers else [""] * len(request["Entries"])
        entries = [{"ErrorCode": c, "ErrorMessage": "no"} if c else {"EventId": "e"} for c in codes]
        return {"FailedEntryCount": sum(map(bool, codes)), "Entries": entries}

    def ids(self):
        return [[json.loads(entry["Detail"])["id"] for entry in request] for request in self.requests]


def bus(client):
    return EventBus(lambda: client, BUS, to_json)


def test_a_rules_target_gets_source_kind_time_and_the_transition():
    with mock_aws():
        world = BusWorld()
        world.bus.publish([ONE])
        (event,) = world.heard()
    assert (event["source"], event["detail-type"], event["time"]) == ("modeldrop", ONE.kind, "2026-01-01T12:00:00Z")
    assert event["detail"] == to_json(ONE)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_a_request_has_at_most_ten_events_in_order(count, sizes):
    client = Answering()
    bus(client).publish(numbered(count))
    assert [len(request) for request in client.requests] == sizes
    assert list(chain.from_iterable(client.ids())) == [f"{n:02}" for n in range(count)]


def test_a_request_has_at_most_256_kb():
    client = Answering()
    bus(client).publish(numbered(5, data={"text": "x" * 100_000}))
    assert client.ids() == [["00", "01"], ["02", "03"], ["04"]]


@given(st.lists(st.integers(0, 400_000), max_size=8))
def test_whatever_the_sizes_every_event_is_sent_once_in_order_and_within_the_limits(lengths):
    client = Answering()
    bus(client).publish([replace(ONE, id=f"{n:02}", data={"text": "x" * size}) for n, size in enumerate(lengths)])
    assert list(chain.from_iterable(client.ids())) == [f"{n:02}" for n in range(len(lengths))]
    for request in client.requests:
        assert 1 <= len(request) <= MOST_ENTRIES
        assert sum(len(e["Detail"]) + len(e["DetailType"]) + len(e["Source"]) for e in request) <= MOST_BYTES


def test_a_detail_that_is_too_large_keeps_its_small_fields_and_says_what_was_cut():
    client = Answering()
    bus(client).publish([replace(ONE, data={"version": "digits/v2", "findings": ["x" * 99] * 3000, "codes": ["a"]})])
    detail = client.requests[0][0]["Detail"]
    told = json.loads(detail)
    assert len(detail) < MOST_DETAIL
    assert (told["id"], told["subject"], told["message"]) == (ONE.id, ONE.subject, ONE.message)
    assert {key: told["data"][key] for key in ("version", "codes")} == {"version": "digits/v2", "codes": ["a"]}
    assert told["data"]["cut"]["bytes"] == {"findings": 3000 * 103}
    assert "250000" in told["data"]["cut"]["why"]


def test_a_detail_that_just_fits_is_told_whole():
    client = Answering()
    room = MOST_DETAIL - len(json.dumps(to_json(replace(ONE, data={"text": ""}))))
    whole, larger = (replace(ONE, data={"text": "x" * size}) for size in (room, room + 1))
    bus(client).publish([whole, larger])
    details = [json.loads(entry["Detail"]) for request in client.requests for entry in request]
    assert details[0] == to_json(whole)
    assert list(details[1]["data"]) == ["cut"]


def test_a_message_that_is_too_large_is_cut_too():
    client = Answering()
    bus(client).publish([replace(ONE, message="ü" * 300_000)])
    assert len(client.requests[0][0]["Detail"]) < MOST_DETAIL


def test_events_that_were_refused_with_status_200_are_an_error_with_their_codes():
    client = Answering(["", "ThrottlingException", "InternalFailure", "ThrottlingException"])
    with pytest.raises(NotPublished, match=r"3 of 4 events.*InternalFailure \(1\), ThrottlingException \(2\)"):
        bus(client).publish(numbered(4))


def test_nothing_is_sent_after_a_refused_request():
    client = Answering([""] * 10, ["InternalFailure", *[""] * 9])
    with pytest.raises(NotPublished):
        bus(client).publish(numbered(25))
    assert [len(request) for request in client.requests] == [10, 10]


def test_what_was_refused_stays_in_the_outbox_and_is_sent_with_the_next_wake_up():
    client = Answering(["ThrottlingException"])
    ports = fake_ports(bus=bus(client))
    ports.registry.commit([], [ONE])
    with pytest.raises(NotPublished):
        announce(ports)
    assert ports.registry.unsent() == [ONE]
    announce(ports)
    assert ports.registry.unsent() == []
    assert client.ids() == [[ONE.id], [ONE.id]]


def test_a_request_that_fails_is_botocores_error():
    class Denying:
        def put_events(self, **_):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutEvents")

    with pytest.raises(ClientError, match="AccessDenied"):
        bus(Denying()).publish([ONE])


def test_no_client_is_made_for_nothing():
    EventBus(lambda: pytest.fail("this client needn't be made"), BUS, to_json).publish([])
