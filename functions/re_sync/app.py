"""Finds what an event failed to say, and removes what no record refers to: woken by a schedule."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics

from chalicelib import wiring
from chalicelib.events import parse_event
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.sweep import sweep
from chalicelib.triggers import NAMESPACE, count, traced

wiring.settings("re_sync")
logger = Logger(service="re_sync")
metrics = Metrics(namespace=NAMESPACE, service="re_sync")


@traced
@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: Any) -> None:
    parse_event(event)
    ports = wiring.ports("re_sync")
    re_sync(ports)
    sweep(ports)
    wiring.sweep_records("re_sync")
    count(announce(ports), metrics)
