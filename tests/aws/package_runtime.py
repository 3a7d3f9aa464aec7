"""What Lambda's runtime does with a function: run by the runtime's Python, which sees the zips and boto3 alone.

Reads `{"path", "handler", "event"}` from standard input, calls the handler, and writes what came of it as the last line
of standard output: what was answered or raised, where every module came from, and what was compiled on the way.
"""

import gc
import importlib
import json
import sys
import traceback
import uuid
from pathlib import Path

compiled = []  # source files that no .pyc was taken for


def _audit(event, args):
    if event == "compile" and args[1] and not str(args[1]).startswith("<"):
        compiled.append(str(args[1]))


class Context:
    """What Lambda tells a handler."""

    def __init__(self, name, seconds):
        self.function_name = name
        self.function_version = "$LATEST"
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
        self.memory_limit_in_mb = 1769
        self.aws_request_id = str(uuid.uuid4())
        self._seconds = seconds

    def get_remaining_time_in_millis(self):
        return self._seconds * 1000


def _called(wanted):
    module, _, name = wanted["handler"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    if wanted["event"] is None:
        return {}
    return {"answer": handler(wanted["event"], Context(wanted["name"], wanted["seconds"]))}


def _clients():
    """Return the services that clients were made for."""
    from botocore.client import BaseClient  # noqa: PLC0415  # only now can it be found

    made = (item for item in gc.get_objects() if isinstance(item, BaseClient))
    return sorted({client.meta.service_model.service_name for client in made})


def _peak_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main():
    wanted = json.load(sys.stdin)
    sys.path[:0] = wanted["path"]
    sys.addaudithook(_audit)
    try:
        outcome = _called(wanted)
    except Exception as error:  # noqa: BLE001  # whatever a handler raises is what Lambda reports
        outcome = {"raised": type(error).__name__, "trace": traceback.format_exception(error)}
    outcome["modules"] = {
        name: [module.__file__, module.__cached__]
        for name, module in sys.modules.items()
        if getattr(module, "__file__", None) and hasattr(module, "__cached__") and name != "__main__"
    }
    outcome |= {"compiled": compiled, "peak_kb": _peak_kb(), "clients": _clients()}
    print("\n" + json.dumps(outcome), flush=True)


main()
