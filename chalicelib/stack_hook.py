"""CloudFormation's custom resource: on the stack's deletion nothing of ours may go on running, and costing.

CloudFormation waits for an answer at the event's own URL, whatever happens: what can't be ended in time is said as a
failure with its reason, and the deletion can be started again.
"""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.teardown import stop_all

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

_PAUSE = 10.0  # seconds between looks
_IN_FLIGHT = 60.0  # seconds; what the function that starts deployments has for an invocation
_LOOKS = 2
_RESERVE_MS = 30_000  # of the function's time, for the answer
_TIMEOUT = 10.0  # seconds


def answer(
    event: dict[str, Any],
    ports: Ports,
    *,
    remaining: Callable[[], int],
    logger: "Logger",
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Do what the stack's event says, tell CloudFormation and return what was told.

    An event without a ResponseURL is a person's: {"RequestType": "Delete"} ends everything now.
    """
    left = _end_all(ports, remaining, sleep) if event.get("RequestType") == "Delete" else []
    reason = f"still there: {', '.join(left)}; delete the stack again in some minutes" if left else "nothing is left"
    logger.info("asked by the stack", request=event.get("RequestType"), left=left)
    told = {
        "Status": "FAILED" if left else "SUCCESS",
        "Reason": reason,
        "PhysicalResourceId": event.get("PhysicalResourceId") or "modeldrop-teardown",
        **{name: event.get(name, "") for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    if url := event.get("ResponseURL"):
        _send(url, told)
    return told


def _end_all(ports: Ports, remaining: Callable[[], int], sleep: Callable[[float], None]) -> list[str]:
    """Stop all until two looks in a row find nothing, or time is short.

    SageMaker refuses to delete what it still creates; and a function that ran when its trigger was taken away may
    start something after the first look, but not after the second.
    """
    left, empty = stop_all(ports), 0
    while remaining() > _RESERVE_MS + _IN_FLIGHT * 1000:
        empty = 0 if left else empty + 1
        if empty == _LOOKS:
            break
        sleep(_PAUSE if left else _IN_FLIGHT)
        left = stop_all(ports)
    return left


def _send(url: str, told: dict[str, Any]) -> None:
    """PUT the answer to CloudFormation's presigned URL, which wants no content type."""
    if not url.startswith("https://"):
        raise ValueError(f"the stack's answer is wanted at {url[:100]!r}, which isn't HTTPS; check who invoked this")
    request = Request(url, json.dumps(told).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310 - checked above
    with urlopen(request, timeout=_TIMEOUT):  # noqa: S310 - as above
        pass
