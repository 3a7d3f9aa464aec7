"""Who called: the schemes' own published examples, and every way in which a call isn't the sender's."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import Rejected
from chalicelib.domain.hook_signatures import WINDOW, Call, Refused, call_id
from chalicelib.domain.hooks import Form, key_of, secret_of
from tests.hook_calls import GITHUB_SECRET, SECRET, github, standard

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = b'{"action": "promote", "endpoint": "digits"}'
SECOND = timedelta(seconds=1)


def who(form, secrets, call, now=NOW):
    try:
        return call_id(form, secrets, call, now)
    except Refused as refused:
        return f"refused: {refused.why}"


def test_the_example_of_standard_webhooks_itself_is_proven():
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    at = datetime.fromtimestamp(1614265330, UTC)
    call = Call(headers, b'{"test": 2432232314}')
    assert who(Form.STANDARD, ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], call, at) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_the_example_of_githubs_own_page_is_proven():
    headers = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    found = who(Form.GITHUB, [GITHUB_SECRET], Call(headers, b"Hello, World!"))
    assert found == "sha256:dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f"


@pytest.mark.parametrize("form", [Form.STANDARD, Form.GITLAB])
@pytest.mark.parametrize(
    ("off", "found"),
    [
        (timedelta(0), "msg_1"),
        (-WINDOW, "msg_1"),
        (WINDOW, "msg_1"),
        (-WINDOW - SECOND, "refused: stale"),
        (WINDOW + SECOND, "refused: stale"),
        (timedelta(days=-400), "refused: stale"),
    ],
)
def test_a_signed_call_is_taken_for_five_minutes(form, off, found):
    assert who(form, [SECRET], standard(BODY, NOW + off)) == found


STANDARD = standard(BODY, NOW)
OTHER = "whsec_" + "B" * 43 + "="


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"webhook-id": "msg_2"}, "refused: bad signature"),
        ({"webhook-id": ""}, "refused: bad signature"),
        ({"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, "refused: bad signature"),
        ({"webhook-timestamp": ""}, "refused: bad signature"),
        ({"webhook-signature": ""}, "refused: no signature"),
        ({"webhook-signature": "v1,"}, "refused: bad signature"),
        ({"webhook-signature": STANDARD.header("webhook-signature").replace("v1,", "v1a,")}, "refused: bad signature"),
        ({"webhook-signature": STANDARD.header("webhook-signature").removeprefix("v1,")}, "refused: bad signature"),
        ({"webhook-signature": "v1,é" + "A" * 42 + "="}, "refused: bad signature"),
        ({"webhook-signature": "v1,AAAA " + STANDARD.header("webhook-signature")}, "msg_1"),
        ({"webhook-signature": "v1,AAAA " * 8 + STANDARD.header("webhook-signature")}, "refused: bad signature"),
    ],
)
def test_a_changed_header_proves_nothing(changed, found):
    assert who(Form.STANDARD, [SECRET], Call({**STANDARD.headers, **changed}, BODY)) == found


@pytest.mark.parametrize("id_", ["a.b", "", "ü", "a b", "x" * 257])
def test_an_id_that_could_be_read_in_two_ways_or_has_no_end_is_none(id_):
    assert who(Form.STANDARD, [SECRET], standard(BODY, NOW, id_)) == "refused: the id or the timestamp isn't one"


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_a_body_with_one_changed_bit_proves_nothing(at, bit):
    body = bytes(byte ^ (1 << bit) if place == at else byte for place, byte in enumerate(BODY))
    assert who(Form.STANDARD, [SECRET], Call(STANDARD.headers, body)) == "refused: bad signature"
    assert who(Form.GITHUB, [GITHUB_SECRET], Call(github(BODY).headers, body)) == "refused: bad signature"


@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "x-gitlab-token"]
        ),
        st.text(max_size=80),
    ),
    body=st.binary(max_size=80),
    form=st.sampled_from(Form),
)
def test_whatever_is_sent_without_the_secret_is_refused(headers, body, form):
    secret = GITHUB_SECRET if form in (Form.GITHUB, Form.GITLAB_TOKEN) else SECRET
    assert who(form, [secret], Call(headers, body)).startswith("refused")


@pytest.mark.parametrize(("secrets", "found"), [([OTHER, SECRET], "msg_1"), ([OTHER], "refused: bad signature")])
def test_each_secret_of_a_hook_proves_a_call(secrets, found):
    assert who(Form.GITLAB, secrets, STANDARD) == found


def test_a_plain_token_proves_its_call_and_names_it_by_gitlabs_key_else_by_the_body():
    token = {"x-gitlab-token": GITHUB_SECRET}
    assert who(Form.GITLAB_TOKEN, [GITHUB_SECRET], Call({**token, "idempotency-key": "k-1"}, BODY)) == "k-1"
    assert who(Form.GITLAB_TOKEN, [GITHUB_SECRET], Call(token, BODY)).startswith("sha256:")
    assert who(Form.GITLAB_TOKEN, [GITHUB_SECRET], Call({"x-gitlab-token": "no"}, BODY)) == "refused: bad signature"


def test_a_signature_of_another_form_proves_nothing():
    assert who(Form.GITHUB, [GITHUB_SECRET], STANDARD) == "refused: no signature"
    assert who(Form.STANDARD, [SECRET], github(BODY)) == "refused: no signature"


@given(form=st.sampled_from(Form), random=st.binary(min_size=32, max_size=32))
def test_a_secret_of_ours_is_one_of_its_form(form, random):
    assert key_of(form, secret_of(form, random))


@pytest.mark.parametrize(
    ("form", "secret"),
    [
        (Form.STANDARD, "whsec_"),
        (Form.STANDARD, "whsec_not base64"),
        (Form.GITLAB, "A" * 44),
        (Form.GITLAB, "whsec_AAAA"),
        (Form.STANDARD, "whsec_" + "A" * 100),
        (Form.GITHUB, "short"),
        (Form.GITHUB, "ü" * 20),
    ],
)
def test_a_secret_that_is_weak_or_of_another_kind_is_refused(form, secret):
    with pytest.raises(Rejected, match="secret: give"):
        key_of(form, secret)
