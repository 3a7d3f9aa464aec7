"""A body is judged alike on one machine and on AWS, whichever parser reads it."""

import pytest

from chalicelib.domain.predict_body import BadBody, meant_type, speaks_instances
from chalicelib.local.gateway.bodies import INSTANCES, as_meant, route_of
from chalicelib.local.gateway.messages import Request

BODIES = [
    ("application/json", b'{"instances": [[1, 2]]}', True),
    ("application/json; charset=utf-8", b'{"instances": []}', True),
    ("", b'{"instances": [1], "parameters": {}}', True),
    ("application/vnd.x+json", b'{"inputs": [1]}', False),
    ("application/x-www-form-urlencoded", b' {"instances": [1]}', True),
    ("application/x-www-form-urlencoded", b"a=1", False),
    ("application/json", b'{"instances": [123456789012345678901234567890]}', True),
    ("application/octet-stream", b"\x00", False),
    ("text/csv", b"1,2", False),
]
BAD = [
    (b"", "body", "is empty"),
    (b"[1]", "body", "no JSON object"),
    (b"1", "body", "no JSON object"),
    (b'{"instances": 1}', "instances", "is no list"),
    (b'{"a": [1,]}', "body", "at line 1, column"),
    (b'{"a": 1} x', "body", "at line 1, column"),
    (b'\n{"a" 1}', "body", "at line 2, column"),
    (b'{"a": NaN}', "body", "at line 1, column"),
    (b'{"a": "\xff"}', "body", "is not JSON"),
]


@pytest.mark.parametrize(("content_type", "body", "speaks"), BODIES)
def test_the_contract_is_read_from_type_and_body(content_type, body, speaks):
    assert speaks_instances(meant_type(content_type, body), body) is speaks
    there = as_meant(Request("POST", "/", [(b"content-type", content_type.encode())], body))
    assert (route_of(there) == INSTANCES) is speaks


@pytest.mark.parametrize(("body", "where", "message"), BAD)
def test_what_is_wrong_is_said_with_its_place(body, where, message):
    with pytest.raises(BadBody, match=message) as here:
        speaks_instances("application/json", body)
    with pytest.raises(BadBody, match=message) as there:
        route_of(Request("POST", "/", [(b"content-type", b"application/json")], body))
    assert here.value.where == there.value.where == where
    assert here.value.code == there.value.code == "bad_request"


def test_what_is_nested_without_end_is_refused_and_not_followed():
    with pytest.raises(BadBody, match="recursion limit"):
        speaks_instances("application/json", b"[" * 100_000)
