"""moto's EventBridge Scheduler and SQS, with a clock that a test sets: moto keeps schedules and fires none."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import boto3

from chalicelib.adapters.scheduler import SchedulerTimers, WakeUpQueue
from chalicelib.adapters.sqs import Queue
from chalicelib.events import parse_message
from tests.fakes_pipeline import FakeClock

REGION = "eu-west-1"
GROUP = "stack-1a2b3c"
ROLE = "arn:aws:iam::123456789012:role/stack-timers"
QUEUES = {"look:": "uploads", "register:": "registrations", "catalogue:": "registrations", "advance:": "rollouts"}


@dataclass
class SchedulerWorld:
    """Make it inside `mock_aws`. `fire` leaves the schedules that have fired, as AWS does for a while."""

    clock: FakeClock = field(default_factory=FakeClock)
    fired: set[tuple[str, str]] = field(default_factory=set)

    @cached_property
    def sqs(self):
        return boto3.client("sqs", region_name=REGION)

    @cached_property
    def scheduler(self):
        client = boto3.client("scheduler", region_name=REGION)
        client.create_schedule_group(Name=GROUP)
        return client

    @cached_property
    def queues(self):
        made = {}
        for kind, name in QUEUES.items():
            url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
            made[kind] = Queue(self.sqs, url, f"arn:aws:sqs:{REGION}:123456789012:{name}")
        return made

    @cached_property
    def timers(self):
        return self.make_timers()

    def make_timers(self, **changes):
        given = {
            "scheduler": lambda: self.scheduler,
            "sqs": lambda: self.sqs,
            "queues": {kind: WakeUpQueue(queue.url, queue.arn) for kind, queue in self.queues.items()},
            "group": GROUP,
            "role_arn": ROLE,
            "clock": self.clock,
        }
        return SchedulerTimers(**given | changes)

    def schedules(self):
        """Return all schedules of the group, by name."""
        names = [s["Name"] for s in self.scheduler.list_schedules(GroupName=GROUP)["Schedules"]]
        return {name: self.scheduler.get_schedule(Name=name, GroupName=GROUP) for name in names}

    def fire(self):
        """Send what is due and wasn't sent, as Scheduler does, and leave the schedule."""
        urls = {queue.arn: queue.url for queue in self.queues.values()}
        for name, schedule in self.schedules().items():
            once = (name, schedule["ScheduleExpression"])
            if moment(schedule) <= self.clock.now and once not in self.fired:
                self.fired.add(once)
                target = schedule["Target"]
                self.sqs.send_message(QueueUrl=urls[target["Arn"]], MessageBody=target["Input"])

    def received(self, kind):
        """Take what a queue holds and return what it says."""
        queue = self.queues[kind]
        said = []
        while messages := queue.receive(0):
            queue.done(messages)
            said += [each for message in messages for each in parse_message(message.body)]
        return said


def moment(schedule):
    """Return when a schedule fires; its expression is an `at(…)` in UTC."""
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    return datetime.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
