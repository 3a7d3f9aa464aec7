"""Which webhooks are legal, what they may reach, which events they take, and how their calls are signed."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Rejected
from chalicelib.domain.standard_webhooks import key_of, secret_of, signed
from chalicelib.domain.webhook_rules import checked, may_reach
from chalicelib.domain.webhooks import Secret, Webhook

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = Secret(secret_of(b"k" * 32), NOW)


def webhook(url="https://ci.example.com/hook", kinds=("*",), **more):
    return Webhook("wh", url, kinds, (SECRET,), NOW, **more)


# --- where to ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://ci.example.com/hook?token=1", False),
        ("https://8.8.8.8:8443/", False),
        ("https://[2606:4700::1111]/", False),
        ("http://localhost:9000/", True),
        ("http://127.0.0.1:9000/x", True),
        ("https://10.0.0.5/x", True),
        ("https://[fd12::1]/x", True),
    ],
)
def test_a_url_is_taken(url, private):
    assert checked(webhook(url, private=private)).url == url


@pytest.mark.parametrize(
    ("url", "private", "said"),
    [
        ("", False, "https://HOST"),
        ("ci.example.com/hook", False, "https://HOST"),
        ("ftp://ci.example.com/", True, "https://HOST"),
        ("file:///etc/passwd", True, "https://HOST"),
        ("http://ci.example.com/", False, "--private"),
        ("https://user:pw@ci.example.com/", False, "password"),
        ("https://ci.example.com/#part", False, "#"),
        ("https://ci.example.com:99999/", False, "no URL"),
        ("https://ci.example.com/a b", False, "ASCII"),
        ("https://ci.example.com/\nHost: x", False, "ASCII"),
        ("https://ü.example.com/", False, "ASCII"),
        ("https://ci.example.com/" + "x" * 2000, False, "2000"),
        ("https://127.0.0.1/", False, "--private"),
        ("https://10.0.0.5/", False, "--private"),
        ("https://[::1]/", False, "--private"),
        ("https://[::ffff:10.0.0.5]/", False, "--private"),
        ("https://169.254.169.254/latest/meta-data", True, "169.254.169.254"),
        ("https://[fe80::1]/", True, "fe80::1"),
        ("https://0.0.0.0/", True, "0.0.0.0"),
    ],
)
def test_a_url_is_refused_with_the_reason(url, private, said):
    with pytest.raises(Rejected, match="url: ") as refused:
        checked(webhook(url, private=private))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("address", "openly", "privately"),
    [
        ("93.184.216.34", True, True),
        ("2606:4700::1111", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("100.64.0.1", False, True),
        ("::1", False, True),
        ("fd12:3456::1", False, True),
        ("::ffff:192.168.0.1", False, True),
        ("2002:c0a8:0001::1", False, True),  # 192.168.0.1 in 6to4
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fd00:ec2::254", False, False),
        ("100.100.100.200", False, False),
        ("fe80::1", False, False),
        ("224.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("255.255.255.255", False, False),
    ],
)
def test_an_address_is_reached_openly_or_only_where_that_was_asked_for_or_never(address, openly, privately):
    reached = [may_reach(ip_address(address), private=private) for private in (False, True)]
    assert reached == [openly, privately]


# --- which events ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kinds", "takes", "leaves"),
    [
        (("*",), "drop.seen", ""),
        (("rollout.*",), "rollout.promoted", "drop.seen"),
        (("rollout.promoted", "rollout.rolled_back"), "rollout.rolled_back", "rollout.shifted"),
        (("*.swept",), "copy.swept", "rollout.shifted"),
    ],
)
def test_a_webhook_takes_the_kinds_that_it_names(kinds, takes, leaves):
    found = checked(webhook(kinds=kinds))
    assert (found.takes(takes), found.takes(leaves)) == (True, not leaves)


@pytest.mark.parametrize("kinds", [(), ("",), ("rollout",), ("rollout.*", "deploy.*")])
def test_kinds_that_no_event_has_are_refused_with_those_that_there_are(kinds):
    with pytest.raises(Rejected, match=r"kinds: .*rollout"):
        checked(webhook(kinds=kinds))


# --- signatures --------------------------------------------------------------------------------------------------
def test_a_call_is_signed_as_standard_webhooks_own_example_says():
    secret, when = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.fromtimestamp(1614265330, UTC)
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', [secret], when)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=200), st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=2, unique=True))
def test_each_secret_has_a_signature_of_its_own_over_id_time_and_body(body, keys):
    headers = signed("e1", body, [secret_of(key) for key in keys], NOW)
    content = f"e1.{int(NOW.timestamp())}.".encode() + body
    expected = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    assert headers["webhook-signature"] == " ".join(f"v1,{each}" for each in expected)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!!!", "plain-text-of-a-good-length-for-that", SECRET.value[6:]]
)
def test_a_secret_of_another_form_is_refused(secret):
    with pytest.raises(Rejected, match="secret: give whsec_"):
        key_of(secret)


def test_a_replaced_secret_signs_until_its_time_is_over():
    newer = Secret(secret_of(b"n" * 32), NOW)
    rotated = Webhook("wh", "https://x/", ("*",), (newer, Secret(SECRET.value, NOW, NOW + timedelta(hours=1))), NOW)
    assert rotated.signing(NOW) == [newer.value, SECRET.value]
    assert rotated.signing(NOW + timedelta(hours=1)) == [newer.value]


def test_a_secret_is_never_in_what_a_log_may_print():
    assert SECRET.value not in repr(webhook())
