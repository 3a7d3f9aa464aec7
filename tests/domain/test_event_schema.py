"""The schema of events: the copy for receivers is the code's, and a receiver of today takes what is added tomorrow."""

import json

import pytest
from jsonschema import ValidationError

from chalicelib.domain.event_data import KINDS
from chalicelib.domain.event_schema import event_schema
from tests.event_check import PAGE, receivers_schema

SPLIT = {"v1": 75, "v2": 25}
JUDGED = {"outcome": "pass", "reason": "0 errors", "numbers": {"canary_requests": 114}, "samples_needed": 0}
SHIFTED = {
    "id": "5d0f",
    "kind": "rollout.shifted",
    "subject": "digits",
    "at": "2026-01-01T12:00:00Z",
    "message": "canary 0 errors in 114 requests",
    "rollout": "r-1",
    "data": {"endpoint": "digits", "version": "digits/v2", "split": SPLIT, "judgement": JUDGED},
    "schema_version": "1.0",
}


def with_data(**changes):
    return {**SHIFTED, "data": {**SHIFTED["data"], **changes}}


def without_data(name):
    return {**SHIFTED, "data": {key: value for key, value in SHIFTED["data"].items() if key != name}}


def test_the_copy_for_receivers_is_what_the_code_says():
    assert json.loads(PAGE.read_text()) == event_schema(), "run python tools/draw_events.py"


@pytest.mark.parametrize(
    "event",
    [
        SHIFTED,
        without_data("judgement"),
        with_data(added_later=1),
        with_data(judgement={**JUDGED, "added_later": "x"}),
        {**SHIFTED, "added_later": True},
        {**SHIFTED, "schema_version": "1.17"},
        {**SHIFTED, "kind": "rollout.invented_later", "data": {"anything": None}},
        {**SHIFTED, "data": {"endpoint": "digits", "cut": {"why": "too large", "bytes": {"split": 300_000}}}},
    ],
)
def test_a_receiver_of_today_takes_it(event):
    receivers_schema().validate(event)


@pytest.mark.parametrize(
    "event",
    [
        *({name: value for name, value in SHIFTED.items() if name != gone} for gone in SHIFTED),
        {**SHIFTED, "schema_version": "2.0"},
        {**SHIFTED, "at": 1},
        {**SHIFTED, "kind": "no kind"},
        without_data("split"),
        without_data("endpoint"),
        with_data(split={"v1": "75"}),
        with_data(judgement={**JUDGED, "outcome": "maybe"}),
    ],
)
def test_a_receiver_refuses_what_is_no_event_of_this_major_version(event):
    with pytest.raises(ValidationError):
        receivers_schema().validate(event)


def test_every_kind_is_legal_in_the_schema_itself():
    receivers_schema().check_schema(event_schema())
    for kind in KINDS:
        with pytest.raises(ValidationError):
            receivers_schema().validate({**SHIFTED, "kind": kind.upper()})
