"""Tells API Gateway who calls, and what their key allows; it keeps the answer for at most a minute."""

from typing import Any

from aws_lambda_powertools import Logger

from chalicelib import wiring
from chalicelib.pipeline.authorize import authorize
from chalicelib.pipeline.keys import Denied
from chalicelib.telemetry import traced

wiring.settings("authorizer")
logger = Logger(service="authorizer")


@traced
@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    try:
        return authorize(event["authorizationToken"], event["methodArn"], wiring.ports("authorizer").registry)
    except Denied as denied:
        logger.warning("refused a caller", reason=str(denied))
        raise Exception("Unauthorized") from None  # noqa: TRY002  # the word that makes API Gateway answer 401
