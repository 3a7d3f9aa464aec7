"""Only a key's own secret is let in, by one read, and not once the key is revoked."""

from datetime import UTC, datetime

import pytest

from chalicelib.pipeline.authorize import authorize
from chalicelib.pipeline.keys import Denied, make_key, revoke
from tests.fakes_registry import FakeRegistry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ARN = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/v1/whoami"


class Counting(FakeRegistry):
    def __init__(self):
        super().__init__()
        self.reads = []

    def get(self, kind, id):  # noqa: A002
        self.reads.append((kind, id))
        return super().get(kind, id)


@pytest.fixture
def registry():
    return Counting()


@pytest.fixture
def key(registry):
    return make_key(registry, lambda: NOW, name="app", scopes=["deploy", "predict:digits"])


def test_a_key_gets_the_policy_of_its_scopes_by_one_read(registry, key):
    policy = authorize(f"Bearer {key[1]}", ARN, registry)
    assert policy["context"] == {"key_id": key[0].id, "scopes": "deploy predict:digits"}
    assert registry.reads == [("key", key[0].id)]


def test_the_scheme_is_read_in_any_case(registry, key):
    assert authorize(f"bearer {key[1]}", ARN, registry)["principalId"] == key[0].id


def test_a_revoked_key_is_let_in_no_more(registry, key):
    revoke(registry, lambda: NOW, key[0].id)
    with pytest.raises(Denied, match="was revoked"):
        authorize(f"Bearer {key[1]}", ARN, registry)


@pytest.mark.parametrize("change", [str.upper, lambda s: s[:-1], lambda s: s + "x", lambda s: s[:-1] + "!"])
def test_another_secret_with_a_keys_id_is_not_let_in(registry, key, change):
    other = key[1][:16] + change(key[1][16:])
    assert other != key[1]
    with pytest.raises(Denied, match="does not exist"):
        authorize(f"Bearer {other}", ARN, registry)


@pytest.mark.parametrize(
    "bearer", ["", "Bearer", "Bearer ", "Basic abc", "Bearer md_x_y", "Bearer md_000000000000_abc"]
)
def test_who_has_no_valid_key_is_not_let_in(registry, key, bearer):
    with pytest.raises(Denied) as denied:
        authorize(bearer, ARN, registry)
    assert denied.value.code == "unauthenticated"


def test_a_hash_is_no_secret(registry, key):
    with pytest.raises(Denied):
        authorize(f"Bearer md_{key[0].id}_{key[0].sha256}", ARN, registry)
