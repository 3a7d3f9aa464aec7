"""What all functions on AWS call their metrics, and tracing that costs nothing where it is off."""

import os
from collections.abc import Callable
from typing import Any

NAMESPACE = "Modeldrop"
TRACING = "MODELDROP_TRACING"


def traced(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Trace a handler with X-Ray where that is on; where it isn't, the tracer isn't even imported."""
    if os.environ.get(TRACING) != "true":
        return handler
    from aws_lambda_powertools import Tracer  # noqa: PLC0415 - a third of a cold start

    wrapped: Callable[..., Any] = Tracer().capture_lambda_handler(handler)
    return wrapped
