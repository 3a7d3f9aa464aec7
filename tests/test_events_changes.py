"""What others say is turned into where to look again, and nothing else is believed of it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Rejected
from chalicelib.events import Look, looks_at, parse_body, parse_changes

SAMPLES = Path(__file__).parent.parent / "events"
SAID = {
    "s3-object-created.json": ["digits/v 1/"],
    "s3-test-event.json": [],
    "moto-object-created.json": ["digits/v 1/"],
    "minio-object-created.json": ["digits/v 1/"],
    "minio-object-removed.json": ["digits/v 1/"],
    "minio-own-report.json": [],
    "eventbridge-object-created.json": ["digits/v1/"],
    "eventbridge-object-deleted.json": ["digits/v1/"],
    "eventbridge-object-tags-added.json": [],
    "sqs-wrapped.json": ["digits/v 1/", "digits/v1/"],
}


def sample(name):
    return (SAMPLES / name).read_text(encoding="utf-8")


def notification(*keys, source="aws:s3"):
    return {"Records": [{"eventSource": source, "s3": {"object": {"key": key}}} for key in keys]}


def bridged(key, kind="Object Created"):
    return {"source": "aws.s3", "detail-type": kind, "detail": {"object": {"key": key}}}


@pytest.mark.parametrize(("name", "prefixes"), SAID.items())
def test_each_sample_says_where_to_look(name, prefixes):
    assert parse_changes(json.loads(sample(name))) == [Look(prefix) for prefix in prefixes]
    assert parse_body(sample(name)) == parse_body(sample(name).encode()) == [Look(prefix) for prefix in prefixes]


@pytest.mark.parametrize("source", ["aws:s3", "minio:s3"])
def test_keys_of_notifications_are_escaped_as_in_a_query(source):
    assert parse_changes(notification("a+b%2Bc/v%201/x", source=source)) == [Look("a b+c/v 1/")]


def test_keys_of_eventbridge_are_raw():
    assert parse_changes(bridged("a+b%2Bc/v%201/x")) == [Look("a+b%2Bc/v%201/")]


def test_many_changes_of_one_upload_are_one_look():
    assert parse_changes(notification("m/v/a", "m/v/b/c", "n/v/a", "m/v/a")) == [Look("m/v/"), Look("n/v/")]


@pytest.mark.parametrize("key", ["m/v/_report.json", "m/v/_report.txt", "_reports/x%2Fy.json"])
def test_what_we_write_is_no_change(key):
    assert parse_changes(notification(key)) == []
    assert parse_changes(bridged(key)) == []


@pytest.mark.parametrize("key", ["m/v/a/_report.json", "m/v/_manifest.json", "m/_reports/x"])
def test_what_only_looks_like_ours_is_a_change(key):
    assert len(parse_changes(notification(key))) == 1


@pytest.mark.parametrize(("key", "prefix"), [("stray.mar", ""), ("m/stray.mar", "m/"), ("m/v/", "m/v/")])
def test_a_key_outside_any_upload_is_looked_at_where_it_lies(key, prefix):
    assert looks_at([key]) == [Look(prefix)]


@pytest.mark.parametrize(
    "kind", ["Object Tags Added", "Object Tags Deleted", "Object ACL Updated", "Object Access Tier Changed"]
)
def test_what_changes_no_bytes_is_no_change(kind):
    assert parse_changes(bridged("m/v/a", kind)) == []


def test_no_records_are_no_change():
    assert parse_changes({"Records": []}) == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"Records": "m/v/a"},
        {"Records": [None]},
        {"Records": [{}]},
        {"Records": [{"eventSource": "aws:sns", "Sns": {"Message": "{}"}}]},
        {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": 7}}}]},
        {"Records": [{"eventSource": "aws:sqs", "body": "{"}]},
        {"Records": [{"eventSource": "aws:sqs", "body": "[]"}]},
        {"source": "aws.ec2", "detail-type": "Object Created", "detail": {"object": {"key": "m/v/a"}}},
        {"source": "aws.s3", "detail-type": "Object Created", "detail": {}},
    ],
)
def test_what_is_no_event_is_rejected(payload):
    with pytest.raises(Rejected, match="not") as rejected:
        parse_changes(payload)
    assert rejected.value.code == "bad_event"


@pytest.mark.parametrize("body", ["", "{", b"\xff\xfe", "nan"])
def test_what_is_no_json_is_rejected(body):
    with pytest.raises(Rejected):
        parse_body(body)


def test_a_long_strange_event_is_not_repeated_in_full():
    with pytest.raises(Rejected) as rejected:
        parse_changes({"x": "y" * 100_000})
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
        looks = parse_changes(payload)
    except Rejected:
        return
    assert all(isinstance(look, Look) for look in looks)
