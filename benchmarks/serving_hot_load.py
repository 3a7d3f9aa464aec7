"""What loading a second version costs the first: the worst request under load, with and without."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gateway_load import Target, load
from benchmarks.serving_process import NotStarted, Running, ask
from benchmarks.serving_servers import OURS, Place, archive, ours
from benchmarks.serving_work import WORKS, body, samples

ROUNDS, SECONDS, CONNECTIONS = 5, 4, 8
LOAD_AFTER_S = 1.0
LOAD_WITHIN_S = 120


def hot_load(models: Path, scratch: Path) -> dict[str, Any]:
    """Take turns: a run without a load, then one in which the other version is loaded."""
    first, work = Place(models, scratch / "first"), WORKS[0]
    second = replace(first, scratch=scratch / "second")
    for place in (first, second):
        place.scratch.mkdir(parents=True)
    command, control = ours(work, first), first.scratch / "control"
    folders = [first.scratch / "model", archive(replace(work, model="mlp-second"), second, "base_handler")]
    env = {**command.env, "MODELDROP_CONTROL_SOCKET": str(control), "MODELDROP_PROCESSES": "1"}
    running = Running(replace(command, env=env), first.scratch / "output.txt")
    try:
        given = body("instances", samples(work, models)[0].instances)
        running.until_right(lambda: ask(first.port, OURS.path, given, "application/json")[0] == 200)
        url = f"http://127.0.0.1:{first.port}{OURS.path}"
        return _rounds(Target(url, given, {"Content-Type": "application/json"}), control, folders)
    except (NotStarted, OSError) as error:
        return {"error": str(error)}
    finally:
        running.stop()


def _rounds(target: Target, control: Path, folders: list[Path]) -> dict[str, Any]:
    before, loading, seconds = [], [], []
    load(target, connections=CONNECTIONS, seconds=1)
    for turn in range(ROUNDS):
        before.append(load(target, connections=CONNECTIONS, seconds=SECONDS))
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(_load_later, control, folders[(turn + 1) % 2])
            loading.append(load(target, connections=CONNECTIONS, seconds=SECONDS))
            seconds.append(asked.result())
    if any(seen.errors for seen in (*before, *loading)):
        return {"error": f"requests failed: {[dict(s.errors) for s in (*before, *loading) if s.errors]}"}
    worst = [median(seen.max_ms for seen in runs) for runs in (before, loading)]
    found = {
        "before_ms": worst[0],
        "loading_ms": worst[1],
        "added_ms": worst[1] - worst[0],
        "load_s": median(seconds),
        "rounds": [[b.max_ms, one.max_ms] for b, one in zip(before, loading, strict=True)],
    }
    print(f"hot load: {found}", flush=True)
    return found


def _load_later(control: Path, folder: Path) -> float:
    """Ask for the load in the middle of the run; return how long it took."""
    time.sleep(LOAD_AFTER_S)
    began = time.monotonic()
    asked = json.dumps({"model_dir": str(folder)}).encode()
    head = f"POST /load HTTP/1.1\r\nHost: control\r\nContent-Length: {len(asked)}\r\nConnection: close\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(LOAD_WITHIN_S)
        asking.connect(str(control))
        asking.sendall(head.encode() + asked)
        answer = b"".join(iter(lambda: asking.recv(65536), b""))
    if not answer.startswith(b"HTTP/1.1 200"):
        raise NotStarted(f"the second version was not loaded: {answer[-300:].decode(errors='replace')}")
    return time.monotonic() - began
