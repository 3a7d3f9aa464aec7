"""A queue over SQS's API. Errors of the network stay botocore errors: what wasn't done comes again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from botocore.config import Config

from chalicelib.adapters.session import open_session, proxies

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Message:
    body: str
    receipt: str


@dataclass(frozen=True)
class Queue:
    client: "SQSClient"
    url: str
    arn: str

    @classmethod
    def make(cls, name: str, *, endpoint: str | None, access: str | None, secret: str | None, region: str) -> Self:
        """Return the queue of that name, made if it isn't there."""
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
            proxies=proxies(endpoint),
        )
        client: SQSClient = open_session(access, secret, region).client("sqs", endpoint_url=endpoint, config=config)
        url = client.create_queue(QueueName=name)["QueueUrl"]
        told = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return cls(client, url, told["Attributes"]["QueueArn"])

    def receive(self, wait: int) -> Sequence[Message]:
        """Return up to 10 messages, after at most `wait` seconds; each comes again unless it is `done`."""
        answer = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait)
        return [Message(m["Body"], m["ReceiptHandle"]) for m in answer.get("Messages", [])]

    def done(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)
