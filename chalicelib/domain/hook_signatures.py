"""Whether a call is from its hook's sender, and what tells it from every other call.

- `standard`: Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). The
  headers `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`, which holds one or more
  `v1,BASE64` with spaces between: HMAC-SHA256 over `ID.TIMESTAMP.BODY`, keyed by what `whsec_BASE64` encodes.
- `gitlab`: a webhook's *signing token* (docs.gitlab.com/user/project/integrations/webhooks; merge requests
  230944 and 231325 of gitlab-org/gitlab) is the same scheme with the same headers, `whsec_` and 32 bytes; its
  `webhook-id` is the `Idempotency-Key`, which GitLab keeps over its own retries.
- `github`: `X-Hub-Signature-256: sha256=HEX`, HMAC-SHA256 over the body alone, keyed by the secret's own characters
  (docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries). No time is signed and the delivery's id
  isn't either, so a body counts once.
- `gitlab_token`: `X-Gitlab-Token` is the secret itself. Who reads one call can make any other.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from chalicelib.domain import standard_webhooks
from chalicelib.domain.errors import Rejected
from chalicelib.domain.hooks import Form, key_of

WINDOW = timedelta(minutes=5)
_MOST_SIGNATURES = 8  # that one call may carry
_ID = re.compile(r"[!-\-/-~]{1,256}")  # no full stop: that is where id, time and body meet
_SECONDS = re.compile(r"[0-9]{1,11}")


@dataclass(frozen=True)
class Call:
    """One call as it came: header names in lower case, the body byte by byte."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Refused(Rejected):
    """A call that isn't proven to be the sender's: all say the same, but for `why`, which is for the operator.

    Only who signed a call may learn that it came too late.
    """

    def __init__(self, why: str, message: str = "") -> None:
        super().__init__(message or "there is no such hook, or the call isn't signed as it has to be", code="refused")
        self.why = why


def call_id(form: Form, secrets: Sequence[str], call: Call, now: datetime) -> str:
    """Return what is the call's alone, as its sender signed it; raises Refused."""
    keys = [key_of(form, secret) for secret in secrets]
    match form:
        case Form.STANDARD | Form.GITLAB:
            return _standard_id(keys, call, now)
        case Form.GITHUB:
            _check(keys, call, [call.header("x-hub-signature-256")], _github_signature)
            return f"sha256:{call.sha256}"
        case Form.GITLAB_TOKEN:
            _check(keys, call, [call.header("x-gitlab-token")], lambda key, _: key)
            named = call.header("idempotency-key")
            return named if _ID.fullmatch(named) else f"sha256:{call.sha256}"


def _standard_id(keys: Sequence[bytes], call: Call, now: datetime) -> str:
    id_, sent = call.header("webhook-id"), call.header("webhook-timestamp")
    given = [each for each in call.header("webhook-signature").split(" ")[:_MOST_SIGNATURES] if each]
    _check(keys, call, given, _standard_signature)
    if not _ID.fullmatch(id_) or not _SECONDS.fullmatch(sent):
        raise Refused("the id or the timestamp isn't one")
    off = now - datetime.fromtimestamp(int(sent), UTC)
    if abs(off) > WINDOW:
        told = f"{abs(off).total_seconds():.0f} s {'old' if off > WINDOW else 'ahead'}"
        most = f"{WINDOW.total_seconds():.0f} s"
        raise Refused(
            "stale",
            f"the call's timestamp is {told}, and at most {most} are taken; check the sender's clock, and send it anew",
        )
    return id_


def _standard_signature(key: bytes, call: Call) -> bytes:
    return standard_webhooks.signature(key, call.header("webhook-id"), call.header("webhook-timestamp"), call.body)


def _github_signature(key: bytes, call: Call) -> bytes:
    return b"sha256=" + hmac.digest(key, call.body, "sha256").hex().encode()


def _check(keys: Sequence[bytes], call: Call, given: Sequence[str], signature: Callable[[bytes, Call], bytes]) -> None:
    """Raise Refused unless one of the signatures is by one of the keys; each is compared in constant time."""
    expected = [signature(key, call) for key in keys]
    shown = [each.encode("utf-8", "replace") for each in given]
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in shown]
    if not any(matches):
        raise Refused("bad signature" if any(given) else "no signature")
