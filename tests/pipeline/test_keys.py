"""API keys are shown once, stored as hashes, and refused when unknown or revoked."""

from datetime import UTC, datetime

import pytest

from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.scopes import allows, parse_scopes
from chalicelib.pipeline.keys import Denied, authenticate, hash_of, list_keys, make_key, require, revoke
from chalicelib.pipeline.records import ApiKey
from tests.fakes_registry import FakeRegistry

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def clock():
    return NOW


@pytest.fixture
def registry():
    return FakeRegistry()


def lookup_in(registry):
    return {key.sha256: key for key in list_keys(registry)}.get


def test_a_new_key_is_told_by_its_secret(registry):
    key, secret = make_key(registry, clock, name="app", scopes=["predict:digits"])
    assert secret.startswith(f"md_{key.id}_")
    assert authenticate(f"Bearer {secret}", lookup_in(registry)) == key


def test_the_secret_itself_is_stored_nowhere(registry):
    key, secret = make_key(registry, clock, name="app", scopes=["deploy"])
    stored = str(registry.get("key", key.id))
    assert hash_of(secret) in stored
    assert secret.rsplit("_", 1)[1] not in stored


@pytest.mark.parametrize("bearer", ["", "Bearer", "Bearer ", "Bearer md_1_unknown", "Basic abc", "md_1_unknown"])
def test_who_has_no_valid_key_is_not_let_in(registry, bearer):
    make_key(registry, clock, name="app", scopes=["admin"])
    with pytest.raises(Denied) as denied:
        authenticate(bearer, lookup_in(registry))
    assert denied.value.code == "unauthenticated"


def test_the_scheme_is_read_in_any_case(registry):
    key, secret = make_key(registry, clock, name="app", scopes=["admin"])
    assert authenticate(f"bearer {secret}", lookup_in(registry)) == key


def test_a_revoked_key_is_refused_and_says_so(registry):
    key, secret = make_key(registry, clock, name="app", scopes=["admin"])
    assert revoke(registry, clock, key.id).revoked == NOW
    with pytest.raises(Denied, match="was revoked") as denied:
        authenticate(f"Bearer {secret}", lookup_in(registry))
    assert denied.value.code == "unauthenticated"


def test_revoking_twice_keeps_the_first_time(registry):
    key, _ = make_key(registry, clock, name="app", scopes=["admin"])
    first = revoke(registry, clock, key.id)
    assert revoke(registry, lambda: NOW.replace(year=2030), key.id) == first


def test_revoking_what_does_not_exist_is_not_found(registry):
    with pytest.raises(NotFound, match="'nobody'"):
        revoke(registry, clock, "nobody")


def test_keys_are_listed_oldest_first_with_the_revoked_ones(registry):
    late, _ = make_key(registry, lambda: NOW.replace(year=2027), name="late", scopes=["admin"])
    early, _ = make_key(registry, clock, name="early", scopes=["admin"])
    gone = revoke(registry, clock, early.id)
    assert list_keys(registry) == [gone, late]


@pytest.mark.parametrize(
    ("scopes", "needed", "allowed"),
    [
        (["predict:digits"], "predict:digits", True),
        (["predict:digits"], "predict:other", False),
        (["predict:*"], "predict:other", True),
        (["predict:*"], "deploy", False),
        (["deploy"], "predict:digits", False),
        (["deploy"], "deploy", True),
        (["deploy"], "admin", False),
        (["admin"], "deploy", True),
        (["admin"], "predict:digits", True),
        ([], "deploy", False),
    ],
)
def test_a_scope_covers_what_it_says(scopes, needed, allowed):
    assert allows(scopes, needed) is allowed


def test_a_missing_scope_is_forbidden_and_named():
    key = ApiKey("1", "app", ("deploy",), "", NOW)
    with pytest.raises(Denied, match="'predict:digits'") as denied:
        require(key, "predict:digits")
    assert denied.value.code == "forbidden"


@pytest.mark.parametrize(
    "scopes", [[], ["root"], ["predict"], ["predict:"], ["predict:a/b"], ["predict:a..b"], ["admin "], "admin", [1]]
)
def test_an_illegal_scope_is_rejected(registry, scopes):
    with pytest.raises(Rejected, match=r"^scopes: ") as rejected:
        make_key(registry, clock, name="app", scopes=scopes)
    assert rejected.value.code == "bad_scope"
    assert list_keys(registry) == []


@pytest.mark.parametrize("name", ["", "a" * 101, "two\nlines"])
def test_an_illegal_name_is_rejected(registry, name):
    with pytest.raises(Rejected, match=r"^name: "):
        make_key(registry, clock, name=name, scopes=["admin"])


def test_scopes_are_kept_once_and_in_order():
    assert parse_scopes(["predict:b", "admin", "predict:b"]) == ("admin", "predict:b")
