"""Copies of requests on SQS: whole there and back, and never more than the budget of a caller's time."""

import base64
import threading
from dataclasses import dataclass, field, replace

import pytest
from botocore.exceptions import ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.adapters.shadow_queue import ShadowQueue, copy_from
from chalicelib.domain.invocation import Call, Reply
from chalicelib.domain.shadow import LARGEST, Copy, Shadow, Shadowing

COPY = Copy(
    "id-1",
    "digits",
    Shadowing("v2-b", "r-1", Shadow(share=50, tolerance=0.1)),
    Call(b'{"instances": [1]}', "application/json", "", {"contract": "instances"}),
    Reply(200, b'{"predictions": [1]}', "application/json", {}),
)


@dataclass
class Queue:
    """SQS as the adapter calls it: takes messages, after `gate` is open."""

    gate: threading.Event = field(default_factory=threading.Event)
    sent: list[dict] = field(default_factory=list)
    error: Exception | None = None

    def send_message(self, **asked):
        self.gate.wait(30)
        if self.error:
            raise self.error
        self.sent.append(asked)


@pytest.fixture
def sqs():
    queue = Queue()
    queue.gate.set()
    yield queue
    queue.gate.set()


def received(asked):
    attributes = {
        name: {"dataType": "Binary", "binaryValue": base64.b64encode(said["BinaryValue"]).decode()}
        for name, said in asked["MessageAttributes"].items()
    }
    return {"body": asked["MessageBody"], "messageAttributes": attributes}


@given(st.binary(max_size=100), st.binary(max_size=100), st.text(max_size=20))
def test_a_copy_comes_out_as_it_went_in(body, answer, content_type):
    sqs = Queue()
    sqs.gate.set()
    copy = replace(COPY, call=replace(COPY.call, body=body), live=Reply(200, answer, content_type, {}))
    queue = ShadowQueue(sqs, "url")
    assert queue._send(copy)
    assert copy_from(received(sqs.sent[0])) == copy


def test_what_is_not_sent_within_the_budget_is_given_up_and_the_next_one_does_not_wait_behind_it(sqs):
    sqs.gate.clear()
    queue = ShadowQueue(sqs, "url")
    assert not queue.send(COPY)
    assert not queue.send(COPY)  # the first is still on its way: this one isn't even begun
    sqs.gate.set()
    while not queue.send(replace(COPY, id="id-3")):
        pass
    ids = [copy_from(received(asked)).id for asked in sqs.sent]
    assert ids[0] == "id-1"
    assert set(ids) == {"id-1", "id-3"}


def test_what_the_cloud_refuses_is_told_and_fails_nobody(sqs):
    sqs.error = ConnectTimeoutError(endpoint_url="https://sqs")
    assert ShadowQueue(sqs, "url").send(COPY) is False


def test_the_largest_copy_fits_into_a_message(sqs):
    copy = replace(COPY, call=replace(COPY.call, body=b"x" * (LARGEST - len(COPY.live.body))))
    assert not copy.is_large
    ShadowQueue(sqs, "url")._send(copy)
    [asked] = sqs.sent
    attributes = asked["MessageAttributes"].items()
    size = sum(len(name) + len("Binary") + len(said["BinaryValue"]) for name, said in attributes)
    assert size + len(asked["MessageBody"]) < 2**20
    assert replace(copy, live=Reply(200, COPY.live.body + b"x", "", {})).is_large
