"""moto's EventBridge with a custom bus, and a queue that hears all that is put there."""

import json
from dataclasses import dataclass

import boto3

from chalicelib.adapters.eventbridge import EventBus
from chalicelib.adapters.sqs import Queue
from chalicelib.pipeline.records import to_json

REGION = "eu-west-1"
BUS = "stack-1a2b3c"


@dataclass
class Recording:
    """A client that keeps the requests that it passes on."""

    client: object
    requests: list

    def put_events(self, **request):
        self.requests.append(request)
        return self.client.put_events(**request)


class BusWorld:
    """Make it inside `mock_aws`."""

    def __init__(self):
        events = boto3.client("events", region_name=REGION)
        sqs = boto3.client("sqs", region_name=REGION)
        url = sqs.create_queue(QueueName="ci")["QueueUrl"]
        self.queue = Queue(sqs, url, f"arn:aws:sqs:{REGION}:123456789012:ci")
        events.create_event_bus(Name=BUS)
        events.put_rule(Name="all", EventBusName=BUS, EventPattern=json.dumps({"source": ["modeldrop"]}))
        events.put_targets(Rule="all", EventBusName=BUS, Targets=[{"Id": "ci", "Arn": self.queue.arn}])
        self.client = Recording(events, [])
        self.bus = EventBus(lambda: self.client, BUS, to_json)

    def heard(self):
        """Take what the queue heard, as EventBridge's whole events."""
        events = []
        while messages := self.queue.receive(0):
            self.queue.done(messages)
            events += [json.loads(message.body) for message in messages]
        return events
