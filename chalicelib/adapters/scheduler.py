"""Timers on AWS: a message at once, or a one-shot schedule that sends the message when it is due.

EventBridge Scheduler's own precision is a minute: a timer fires up to 60 s after its moment. SQS's DelaySeconds would
be finer, but a delayed message has no name and can't be moved: every event would add one, and each of those the next.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.domain.errors import Conflict

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_scheduler.type_defs import CreateScheduleInputTypeDef
    from mypy_boto3_sqs import SQSClient

_AT_ONCE = timedelta(seconds=1)  # nearer than this isn't worth a schedule
_NEAREST = timedelta(seconds=5)  # of a schedule: AWS refuses a moment that is past when the request arrives
_LAPS = 3  # over the names of a wake-up: the second and third for those that change under our hands
_MOMENT = "at(%Y-%m-%dT%H:%M:%S)"
_LONGEST_SLUG = 45  # with a hash and a number it stays below the 64 characters of a schedule's name


class NoQueue(LookupError):
    """A wake-up of a kind that this function was given no queue for."""


@dataclass(frozen=True)
class WakeUpQueue:
    """Where wake-ups of a kind are sent: SendMessage wants the URL, a schedule the ARN."""

    url: str
    arn: str


@dataclass(frozen=True, kw_only=True)
class SchedulerTimers:
    """`pipeline.ports.Timers` on SQS and EventBridge Scheduler.

    A schedule whose moment is past has fired and will be deleted, or is about to fire: it is left alone, and the next
    timer of that wake-up takes its second name. An earlier wake-up that is sent at once doesn't cancel a later one.
    A schedule has no conditional write: of two callers at the same time the later moment may win; a re-sync finds it.

    What AWS refuses stays a botocore ClientError: the message that is being worked on comes again.
    """

    scheduler: "Callable[[], EventBridgeSchedulerClient]"  # clients are made when they are first needed
    sqs: "Callable[[], SQSClient]"
    queues: Mapping[str, WakeUpQueue]  # by kind: "look:", "register:", …
    group: str
    role_arn: str
    clock: Callable[[], datetime]
    dead_letter_arn: str = ""  # of the queue that takes what a schedule couldn't deliver

    def set(self, name: str, at: datetime) -> None:
        """Wake the name at that moment or soon after; raises NoQueue, and Conflict when others set it all the time."""
        queue = self._queue(name)
        now = self.clock()
        if at <= now + _AT_ONCE:
            self.sqs().send_message(QueueUrl=queue.url, MessageBody=message(name))
        else:
            self._schedule(name, queue, _whole_second(max(at, now + _NEAREST)), now)

    def _queue(self, name: str) -> WakeUpQueue:
        head, colon, _ = name.partition(":")
        if head + colon not in self.queues:
            known = ", ".join(sorted(self.queues)) or "none"
            raise NoQueue(f"wake-up {name[:200]!r}: no queue for {head + colon!r} here, only for {known}; give it one")
        return self.queues[head + colon]

    def _schedule(self, name: str, queue: WakeUpQueue, at: datetime, now: datetime) -> None:
        for lap in range(_LAPS):
            for schedule in schedule_names(name):
                wanted = self._wanted(schedule, at, name, queue)
                if self._create(wanted):
                    return
                present = self._moment(schedule)
                if present is None or (present <= now and lap == 0):
                    continue
                if now < present <= at or self._move(wanted):
                    return
        raise Conflict(f"wake-up {name[:200]!r}: its schedules changed whenever they were read; set it again")

    def _wanted(self, schedule: str, at: datetime, name: str, queue: WakeUpQueue) -> "CreateScheduleInputTypeDef":
        wanted: CreateScheduleInputTypeDef = {
            "Name": schedule,
            "GroupName": self.group,
            "ScheduleExpression": at.strftime(_MOMENT),
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": queue.arn,
                "RoleArn": self.role_arn,
                "Input": message(name),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 20},
            },
        }
        if self.dead_letter_arn:
            wanted["Target"]["DeadLetterConfig"] = {"Arn": self.dead_letter_arn}
        return wanted

    def _create(self, wanted: "CreateScheduleInputTypeDef") -> bool:
        """Tell whether there was none of that name."""
        try:
            self.scheduler().create_schedule(**wanted)
        except ClientError as error:
            return _unless(error, "ConflictException")
        return True

    def _moment(self, schedule: str) -> datetime | None:
        """Return when a schedule fires or fired; None when it is gone."""
        try:
            told = self.scheduler().get_schedule(Name=schedule, GroupName=self.group)
        except ClientError as error:
            _unless(error, "ResourceNotFoundException")
            return None
        return datetime.strptime(told["ScheduleExpression"], _MOMENT).replace(tzinfo=UTC)

    def _move(self, wanted: "CreateScheduleInputTypeDef") -> bool:
        """Tell whether it could be moved: not one that is gone, or that somebody else is moving."""
        try:
            self.scheduler().update_schedule(**wanted)
        except ClientError as error:
            return _unless(error, "ResourceNotFoundException", "ConflictException")
        return True


def message(name: str) -> str:
    """Return the body of the message that wakes a name.

    Its angle brackets are escaped: Scheduler puts values of its own for `<aws.scheduler.…>` in what it sends.
    """
    return json.dumps({"wake_up": name}).replace("<", "\\u003c")


def schedule_names(name: str) -> tuple[str, str]:
    """Return the two legal names for the schedules of a wake-up: readable, and apart for different wake-ups."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_SLUG].strip("-")
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{slug}-{digest}-1", f"{slug}-{digest}-2"


def _whole_second(at: datetime) -> datetime:
    """Round up, in UTC: a schedule knows seconds, and mustn't fire early."""
    up = timedelta(seconds=1) if at.microsecond else timedelta(0)
    return at.astimezone(UTC).replace(microsecond=0) + up


def _unless(error: ClientError, *codes: str) -> bool:
    """Return False for an error of these codes, and raise any other."""
    if error.response["Error"]["Code"] not in codes:
        raise error
    return False
