"""Run as a program: have each model folder that standard input names served, and asked once, and say what came of it.

Each is served by the real program in a process of its own. These are forked from this one, which has imported the
framework that argv[1] names, so that its import is paid for once.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TextIO

import httpx
from modelserver.__main__ import main
from modelserver.server import exit_now


def serve(folder: Path, log: int) -> None:
    """Become the serving program."""
    os.environ |= {"MODEL_DIR": str(folder), "MODELDROP_UDS": f"{folder}.s", "MODELDROP_DEVICE": "cpu"}
    tempfile.tempdir = None  # it was looked up already
    os.dup2(log, sys.stderr.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    exit_now(main([]))


def why_not_ready(log: TextIO) -> str | None:
    """Follow the log until the model is ready; return why it isn't, as the program says."""
    said = []
    for line in log:
        said.append(line)
        if line.startswith("{") and json.loads(line)["event"] == "ready":
            return None
    return said[-1] if said else "it said nothing"


def answered(folder: Path, request: object) -> dict[str, object]:
    end, begin = os.pipe()
    child = os.fork()
    if not child:
        serve(folder, begin)
    os.close(begin)
    try:
        with os.fdopen(end) as log:
            failed = why_not_ready(log)
            return {"failed": failed} if failed else ask(f"{folder}.s", request)
    finally:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)


def ask(socket: str, request: object) -> dict[str, object]:
    transport = httpx.HTTPTransport(uds=socket)
    with httpx.Client(transport=transport, base_url="http://replica", timeout=60) as client:
        answer = client.post("/predict", json={"instances": [request]})
        return {"status": answer.status_code, "body": answer.json()}


if __name__ == "__main__":
    if sys.argv[1]:
        importlib.import_module(sys.argv[1])
    asked = json.load(sys.stdin)
    print(json.dumps({folder: answered(Path(folder), request) for folder, request in asked.items()}))
