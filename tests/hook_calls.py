"""Calls of hooks, signed as their senders sign them; written from the schemes' own pages, not from our code."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.domain.hook_signatures import Call

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
GITHUB_SECRET = "It's a Secret to Everybody"


def standard(body: bytes, at: datetime, id_: str = "msg_1", secret: str = SECRET) -> Call:
    """Return a call as Standard Webhooks' senders, and GitLab with a signing token, make it."""
    moment = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{id_}.{moment}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return Call({"webhook-id": id_, "webhook-timestamp": moment, "webhook-signature": signature}, body)


def github(body: bytes, event: str = "push", secret: str = GITHUB_SECRET) -> Call:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Call({"x-hub-signature-256": f"sha256={mac}", "x-github-event": event}, body)


def asks(action: str, endpoint: str = "digits", **more: str) -> bytes:
    return json.dumps({"action": action, "endpoint": endpoint, **more}).encode()


@dataclass
class Audit:
    """`pipeline.ports.Audit` that keeps what it is told."""

    lines: list = field(default_factory=list)

    def __call__(self, line) -> None:
        self.lines.append(line)

    @property
    def outcomes(self) -> list[str]:
        return [str(line.outcome) for line in self.lines]
