"""What a queue brings is turned into wake-ups and news of the fleet, or rejected with what and where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.adapters.scheduler import message
from chalicelib.domain.errors import Rejected
from chalicelib.events import RE_SYNC, FleetChanged, parse_event, parse_message
from chalicelib.pipeline import wakeups
from tests.fakes_pipeline import fake_ports


def endpoint_event(**detail):
    kind = "SageMaker Endpoint State Change"
    return {"source": "aws.sagemaker", "detail-type": kind, "detail": {"EndpointStatus": "IN_SERVICE"} | detail}


@pytest.mark.parametrize("name", ["look:m/1/", "look:", "register:m/1/", "catalogue:m/1", "advance:digits", RE_SYNC])
def test_a_wake_up_that_a_timer_sends_is_the_name_that_was_set(name):
    assert parse_message(message(name)) == [name]


@given(st.text())
def test_any_prefix_comes_through_a_timers_message_as_it_was(prefix):
    assert parse_message(message("look:" + prefix)) == ["look:" + prefix]


@pytest.mark.parametrize("kind", [value for name, value in vars(wakeups).items() if name.isupper()])
def test_every_kind_that_the_verbs_set_is_known(kind):
    assert parse_message(message(kind + "m/1/")) == [kind + "m/1/"]


def test_a_change_in_the_bucket_is_the_wake_up_that_the_verbs_would_set():
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": {"object": {"key": "a b/1+1/x%20y"}}}
    ports = fake_ports()
    wakeups.wake_upload("a b/1+1/", ports)
    assert parse_message(json.dumps(event)) == list(ports.timers.due)


@pytest.mark.parametrize("name", ["", "look", "watch:m/1/", "LOOK:m/1/", "re-sync:", " look:m/1/"])
def test_a_wake_up_of_no_known_kind_is_rejected(name):
    with pytest.raises(Rejected, match="wake-up") as rejected:
        parse_message(json.dumps({"wake_up": name}))
    assert rejected.value.code == "bad_event"


def test_news_of_an_endpoint_say_its_name_and_whose_it_is():
    tags = {"modeldrop:stack": "prod-1a2b3c", "modeldrop:endpoint": "digits"}
    event = endpoint_event(EndpointName="md-1a2b3c-digits-0123456789abcdef", Tags=tags)
    assert parse_event(event) == [FleetChanged("md-1a2b3c-digits-0123456789abcdef", tags)]


@pytest.mark.parametrize("tags", [{}, {"Tags": None}, {"Tags": {}}, {"Tags": [{"Key": "a"}]}])
def test_an_endpoint_without_tags_is_nobodys(tags):
    assert parse_event(endpoint_event(EndpointName="theirs", **tags)) == [FleetChanged("theirs", {})]


def test_a_schedule_asks_for_a_re_sync():
    assert parse_event({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}) == [RE_SYNC]


@pytest.mark.parametrize(
    "payload",
    [
        {"wake_up": 7},
        {"wake_up": None},
        endpoint_event(),
        endpoint_event(EndpointName=7),
        {"source": "aws.sagemaker", "detail-type": "SageMaker Model State Change", "detail": {"ModelName": "m"}},
        {"source": "modeldrop", "detail-type": "version.registered", "detail": {}},
        {"source": "aws.events", "detail-type": "AWS API Call via CloudTrail", "detail": {}},
        {"RequestType": "Create"},
        "look:m/1/",
        ["look:m/1/"],
        None,
    ],
)
def test_what_nobody_of_ours_sends_is_rejected(payload):
    with pytest.raises(Rejected, match="not of") as rejected:
        parse_message(json.dumps(payload))
    assert rejected.value.code == "bad_event"
