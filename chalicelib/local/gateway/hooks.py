"""Who may call a hook, before anything is known of them: how often, and with how much."""

import math
import time
from collections.abc import Callable

from chalicelib.domain.rates import Bucket, take
from chalicelib.local.gateway.messages import Request, Response, error

MOST_BYTES = 2 * 2**20  # GitHub's and GitLab's pushes of a thousand commits are smaller
RATE = 50.0  # calls a second of all hooks together: who sends more can't keep the control API busy
_PATH = "/v1/hooks/"


def is_hook_call(request: Request) -> bool:
    """Tell whether a request is a hook's call: `POST /v1/hooks/NAME`."""
    if request.method != "POST" or not request.target.startswith(_PATH):
        return False
    name = request.path.removeprefix(_PATH)
    return bool(name) and "/" not in name


class HookDoor:
    """Lets calls in without a key, as many and as large as we can bear."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._bucket: Bucket | None = None

    def admit(self, request: Request) -> Response | None:
        """Return the refusal of a call that is too large, or one too many."""
        if b"transfer-encoding" in request.fields:
            return error(411, "length_required", "a hook's call says its Content-Length; send it in one piece")
        if int(request.fields.get(b"content-length", b"0")) > MOST_BYTES:
            return error(413, "body_too_large", f"a hook's call has at most {MOST_BYTES} bytes; send less")
        taken = take(RATE, self._bucket, self._seconds())
        self._bucket = taken.bucket
        if taken.allowed:
            return None
        again = (b"retry-after", b"%d" % math.ceil(taken.retry_after))
        return error(429, "too_many_requests", f"hooks take {RATE:.0f} calls a second; send it again", again)
