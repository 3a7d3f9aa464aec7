"""Where AWS keeps the calls of hooks: a line of the function's log each, which is a metric to CloudWatch as well."""

import json
import threading
from collections.abc import Callable

from chalicelib.domain.hook_audit import AuditLine, Minute, Outcome, tell

METRIC = "HookCallsRefused"


class AuditLog:
    """`pipeline.ports.Audit` in CloudWatch's embedded metric format. Each function instance counts for itself."""

    def __init__(self, namespace: str, stack: str, show: Callable[[str], None]) -> None:
        self._stack = stack
        self._metrics = [
            {"Namespace": namespace, "Dimensions": [["stack"]], "Metrics": [{"Name": METRIC, "Unit": "Count"}]}
        ]
        self._show = show
        self._minute: Minute | None = None
        self._lock = threading.Lock()

    def __call__(self, line: AuditLine) -> None:
        with self._lock:
            told, self._minute = tell(line, self._minute)
        if told:
            self._show(json.dumps({"audit": told.to_json(), **self._counted(told)}))

    def _counted(self, line: AuditLine) -> dict[str, object]:
        """Return what makes the line a metric: how many calls were refused, those without a line included."""
        if line.outcome is not Outcome.REFUSED:
            return {}
        milliseconds = int(line.at.timestamp() * 1000)
        embedded = {"Timestamp": milliseconds, "CloudWatchMetrics": self._metrics}
        return {"_aws": embedded, "stack": self._stack, METRIC: 1 + line.left_out}
