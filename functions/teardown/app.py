"""Ends everything that the stack started, before CloudFormation deletes the stack; also to be invoked by hand."""

from typing import Any

from aws_lambda_powertools import Logger

from chalicelib import wiring
from chalicelib.stack_hook import answer
from chalicelib.triggers import traced

wiring.settings("teardown")
logger = Logger(service="teardown")


@traced
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return answer(event, wiring.ports("teardown"), remaining=context.get_remaining_time_in_millis, logger=logger)
