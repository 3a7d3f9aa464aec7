"""What a function on AWS does around its verb: log and count under the drop's own name, let bad messages come again.

Every line that a drop causes carries its MODEL/VERSION as correlation id, from the S3 event to the last rollout step:
the id follows from the work, so nothing has to be handed on, and a repeat has the same one.

A function imports this module first: with pydantic loaded already, Powertools' batch would load models of all events.
"""

import chalicelib.cold_start  # noqa: F401  # for its effect, before the rest

# isort: split
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from chalicelib import wiring
from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.events import FleetChanged, WakeUp, parse_message
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.wakeups import ADVANCE, wake_endpoints_of
from chalicelib.settings import Settings
from chalicelib.telemetry import NAMESPACE, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

Verb = Callable[[str, Ports], object]
Event = dict[str, Any]
DEPLOYMENT_TAG = "modeldrop:deployment"  # `adapters.sagemaker_names` puts it on every endpoint
_ATTEMPTS = 3  # at what others' writes got in the way of; then the message comes again
_SOONEST, _LATEST = 10, 900  # seconds until a message that failed comes again


@dataclass(frozen=True)
class QueueFed:
    """The handler of a function that a queue feeds: each message by itself, and what failed comes again.

    `verbs` says what each kind of wake-up does, by the beginning of its name.
    """

    function: str
    verbs: Mapping[str, Verb]
    queue: Callable[[Settings], str]  # its URL
    logger: Logger = field(init=False)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        """Read the settings, so that a missing one fails the cold start and not the first message."""
        wiring.settings(self.function)
        object.__setattr__(self, "logger", Logger(service=self.function))
        object.__setattr__(self, "metrics", Metrics(namespace=NAMESPACE, service=self.function))

    def handler(self) -> Callable[[Event, "LambdaContext"], "PartialItemFailureResponse"]:
        logged = self.logger.inject_lambda_context(self._answer, clear_state=True)
        return traced(self.metrics.log_metrics(logged))

    def _answer(self, event: Event, context: "LambdaContext") -> "PartialItemFailureResponse":
        """Work on every message, then tell what came of it; returns the messages that come again."""
        processor = _Patient(wiring.Lazy("sqs"), self.queue(wiring.settings(self.function)), self.logger)
        failed = process_partial_response(event, self._work, processor, context)
        count(announce(wiring.ports(self.function)), self.metrics)
        return failed

    def _work(self, record: SQSRecord) -> None:
        ports = wiring.ports(self.function)
        for each in parse_message(record.body):
            if isinstance(each, FleetChanged):
                wake_endpoints_of(each.tags.get(DEPLOYMENT_TAG, ""), ports)
            else:
                self.logger.set_correlation_id(about(each, ports))
                self.logger.info("woken", wake_up=each, message_id=record.message_id)
                self._persistently(each, ports)

    def _persistently(self, wake_up: WakeUp, ports: Ports) -> None:
        """Do it again when somebody else wrote meanwhile: the verb reads anew each time; raises Conflict at last."""
        verb, name = self._verb(wake_up)
        for _ in range(_ATTEMPTS - 1):
            try:
                verb(name, ports)
            except Conflict:
                continue
            return
        verb(name, ports)

    def _verb(self, wake_up: WakeUp) -> tuple[Verb, str]:
        for kind, verb in self.verbs.items():
            if wake_up.startswith(kind):
                return verb, wake_up.removeprefix(kind)
        raise LookupError(f"{wake_up[:200]!r} was sent to the function {self.function}, which doesn't do such")


class _Patient(BatchProcessor):
    """Has a message that failed come again after a while that grows, not after the queue's whole patience."""

    def __init__(self, sqs: Any, queue_url: str, logger: Logger) -> None:
        super().__init__(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        self._sqs = sqs
        self._url = queue_url
        self._logger = logger

    def failure_handler(self, record: Any, exception: Any) -> Any:
        self._logger.error("failed; the message comes again", exc_info=exception)
        received = int(record.attributes.approximate_receive_count)
        again = min(_LATEST, _SOONEST * 2 ** (received - 1))
        self._sqs.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=record.receipt_handle, VisibilityTimeout=again
        )
        return super().failure_handler(record, exception)


def about(wake_up: WakeUp, ports: Ports) -> str:
    """Return the MODEL/VERSION that a wake-up is about; an endpoint without an open rollout stands for itself."""
    kind, _, name = wake_up.partition(":")
    if kind + ":" != ADVANCE:
        return name.removesuffix("/")
    records = Records(ports.registry)
    endpoint = records.endpoint(name)
    rollout = records.open_rollout(endpoint.value) if endpoint else None
    return str(rollout.value.ref) if rollout else name


def count(told: list[Transition], metrics: Metrics) -> None:
    """Count what was told to the world, by kind and as a whole: Powertools warns of an invocation without a number."""
    metrics.add_metric(name="transitions", unit="Count", value=len(told))
    for transition in told:
        metrics.add_metric(name=transition.kind, unit="Count", value=1)
