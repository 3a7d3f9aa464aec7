"""The function that asks shadows: each message is one copied request, and one that comes twice is asked once."""

import chalicelib.cold_start  # noqa: F401  # for its effect, before the rest

# isort: split
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from chalicelib.adapters.shadow_queue import copy_from
from chalicelib.pipeline.shadow import World, ask_shadow
from chalicelib.telemetry import NAMESPACE, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

_FUNCTION = "shadow"


@dataclass(frozen=True)
class CopiesFed:
    """Its handler; `world` is what copies are asked and counted with."""

    world: Callable[[], World]

    def handler(self) -> Callable[[dict[str, Any], "LambdaContext"], "PartialItemFailureResponse"]:
        logger, metrics = Logger(service=_FUNCTION), Metrics(namespace=NAMESPACE, service=_FUNCTION)

        def answer(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
            processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
            metrics.add_metric(name="copies", unit="Count", value=len(event["Records"]))
            return process_partial_response(event, self._ask, processor, context)

        return traced(metrics.log_metrics(logger.inject_lambda_context(answer, clear_state=True)))

    def _ask(self, record: SQSRecord) -> None:
        ask_shadow(copy_from(record.raw_event), self.world())
