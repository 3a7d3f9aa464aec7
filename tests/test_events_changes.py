"""What others say is turned into where to look again, and nothing else is believed of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Rejected
from chalicelib.events import Look, looks_at, parse_body


def notification(*keys, source="aws:s3"):
    return {"Records": [{"eventSource": source, "s3": {"object": {"key": key}}} for key in keys]}


def parsed(payload):
    return parse_body(json.dumps(payload))


def bridged(key, kind="Object Created"):
    return {"source": "aws.s3", "detail-type": kind, "detail": {"object": {"key": key}}}


@pytest.mark.parametrize("source", ["aws:s3", "minio:s3"])
def test_keys_of_notifications_are_escaped_as_in_a_query(source):
    assert parsed(notification("a+b%2Bc/v%201/x", source=source)) == [Look("a b+c/v 1/")]


def test_keys_of_eventbridge_are_raw():
    assert parsed(bridged("a+b%2Bc/v%201/x")) == [Look("a+b%2Bc/v%201/")]


def test_many_changes_of_one_upload_are_one_look():
    assert parsed(notification("m/v/a", "m/v/b/c", "n/v/a", "m/v/a")) == [Look("m/v/"), Look("n/v/")]


@pytest.mark.parametrize("key", ["m/v/_report.json", "m/v/_report.txt", "_reports/x%2Fy.json"])
def test_what_we_write_is_no_change(key):
    assert parsed(notification(key)) == []
    assert parsed(bridged(key)) == []


@pytest.mark.parametrize("key", ["m/v/a/_report.json", "m/v/_manifest.json", "m/_reports/x"])
def test_what_only_looks_like_ours_is_a_change(key):
    assert len(parsed(notification(key))) == 1


@pytest.mark.parametrize(("key", "prefix"), [("stray.mar", ""), ("m/stray.mar", "m/"), ("m/v/", "m/v/")])
def test_a_key_outside_any_upload_is_looked_at_where_it_lies(key, prefix):
    assert looks_at([key]) == [Look(prefix)]


@pytest.mark.parametrize(
    "kind", ["Object Tags Added", "Object Tags Deleted", "Object ACL Updated", "Object Access Tier Changed"]
)
def test_what_changes_no_bytes_is_no_change(kind):
    assert parsed(bridged("m/v/a", kind)) == []


def test_no_records_are_no_change():
    assert parsed({"Records": []}) == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"Records": "m/v/a"},
        {"Records": [None]},
        {"Records": [{}]},
        {"Records": [{"eventSource": "aws:sns", "Sns": {"Message": "{}"}}]},
        {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": 7}}}]},
        {"Records": [{"eventSource": "aws:sqs", "body": "{}"}]},
        {"wake_up": "look:m/1/"},
        [],
        7,
        {"source": "aws.ec2", "detail-type": "Object Created", "detail": {"object": {"key": "m/v/a"}}},
        {"source": "aws.s3", "detail-type": "Object Created", "detail": {}},
    ],
)
def test_what_is_no_event_is_rejected(payload):
    with pytest.raises(Rejected, match="not") as rejected:
        parsed(payload)
    assert rejected.value.code == "bad_event"


@pytest.mark.parametrize("body", ["", "{", b"\xff\xfe", "nan", "[" * 100_000])
def test_what_is_no_json_is_rejected(body):
    with pytest.raises(Rejected):
        parse_body(body)


def test_a_long_strange_event_is_not_repeated_in_full():
    with pytest.raises(Rejected) as rejected:
        parsed({"x": "y" * 100_000})
    assert len(str(rejected.value)) < 1000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Records", "eventSource", "s3", "object", "key", "body", "source", "detail", "detail-type"]
            ),
            inner | st.sampled_from(["aws:s3", "aws:sqs", "aws.s3", "Object Created"]),
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["Records", "source", "detail", "detail-type", "Event"]), json_values))
def test_whatever_is_posted_gives_looks_or_is_rejected(payload):
    try:
        looks = parsed(payload)
    except Rejected:
        return
    assert all(isinstance(look, Look) for look in looks)
