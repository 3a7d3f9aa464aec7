"""How a call is signed so that its receiver can tell who sent it, and that no byte of it changed.

Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks): HMAC-SHA256 over `ID.TIMESTAMP.BODY`, keyed by
the bytes that `whsec_BASE64` encodes. There are libraries for it in most languages.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime

from chalicelib.domain.errors import Rejected

PREFIX = "whsec_"
LEAST_KEY, MOST_KEY = 24, 64  # bytes


def key_of(secret: str) -> bytes:
    """Return the bytes that sign; raises Rejected."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not LEAST_KEY <= len(key) <= MOST_KEY:
        rule = f"{PREFIX} and the base64 of {LEAST_KEY} to {MOST_KEY} random bytes"
        raise Rejected(f"secret: give {rule}, or none to have one made", code="bad_secret")
    return key


def secret_of(random: bytes) -> str:
    return PREFIX + base64.b64encode(random).decode()


def signed(id: str, body: bytes, secrets: Sequence[str], now: datetime) -> dict[str, str]:  # noqa: A002 - the scheme's
    """Return the headers of a call: one signature for each secret, so that a receiver may know either."""
    timestamp = str(int(now.timestamp()))
    signatures = " ".join(signature(key_of(secret), id, timestamp, body).decode() for secret in secrets)
    return {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def signature(key: bytes, id: str, timestamp: str, body: bytes) -> bytes:  # noqa: A002 - the scheme's word
    """Return one signature as the header has it."""
    content = f"{id}.{timestamp}.".encode("utf-8", "replace") + body
    return b"v1," + base64.b64encode(hmac.digest(key, content, "sha256"))
