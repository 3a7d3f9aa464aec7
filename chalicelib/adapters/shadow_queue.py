"""Copies of requests on their way to a shadow, as messages of a queue.

The two bodies travel as binary attributes: SQS counts their bytes as they are, so that nearly all of its MiB is theirs.
"""

import base64
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter

from chalicelib.domain.invocation import Call, Reply
from chalicelib.domain.shadow import Copy, Shadowing

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BUDGET = 0.05  # seconds that a caller may wait for a copy to be sent
_REQUEST, _LIVE = "request", "live"
_SHADOWING = TypeAdapter(Shadowing)


class ShadowQueue:
    """Sends copies within a budget, one at a time: what takes longer is given up, and goes on beside the next calls."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._sending: Future[bool] | None = None

    def send(self, copy: Copy) -> bool:
        """Tell whether a copy was sent in time; one that comes while another is still on its way is not."""
        if self._sending and not self._sending.done():
            return False
        self._sending = self._pool.submit(self._send, copy)
        try:
            return self._sending.result(BUDGET)
        except TooLate:
            return False

    def _send(self, copy: Copy) -> bool:
        bodies = {_REQUEST: copy.call.body, _LIVE: copy.live.body}
        attributes: Any = {n: {"DataType": "Binary", "BinaryValue": body} for n, body in bodies.items() if body}
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=_said(copy), MessageAttributes=attributes)
        except (BotoCoreError, ClientError):
            return False
        return True


def _said(copy: Copy) -> str:
    call = {
        "content_type": copy.call.content_type,
        "accept": copy.call.accept,
        "attributes": dict(copy.call.attributes),
    }
    live = {"status": copy.live.status, "content_type": copy.live.content_type}
    return json.dumps(
        {
            "id": copy.id,
            "endpoint": copy.endpoint,
            "to": _SHADOWING.dump_python(copy.to, mode="json"),
            "call": call,
            "live": live,
        }
    )


def copy_from(record: Mapping[str, Any]) -> Copy:
    """Return the copy that a message of the queue is, as Lambda gets it; raises ValueError or KeyError."""
    said = json.loads(record["body"])
    call, live = said["call"], said["live"]
    return Copy(
        said["id"],
        said["endpoint"],
        _SHADOWING.validate_python(said["to"]),
        Call(_body(record, _REQUEST), call["content_type"], call["accept"], call["attributes"]),
        Reply(live["status"], _body(record, _LIVE), live["content_type"], {}),
    )


def _body(record: Mapping[str, Any], name: str) -> bytes:
    found = record.get("messageAttributes", {}).get(name)
    return base64.b64decode(found["binaryValue"]) if found else b""
