"""Big models on a GPU: ours beside the raw batched forward. Rows come as `.npy`, 32 a request."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gateway_load import Target, load, middle
from benchmarks.serving_process import NotStarted, Running, ask
from benchmarks.serving_run import Length, in_process
from benchmarks.serving_servers import OURS, Place, ours
from benchmarks.serving_work import WORKS

NPY = "application/x-npy"
ROWS, CONNECTIONS = 32, 16
MAX_BATCH = 256


def gpu(models: Path, scratch: Path, length: Length) -> dict[str, Any]:
    """Measure where there is a GPU, else say why not."""
    found: dict[str, Any] = in_process(
        sys.executable, str(Path(__file__).with_name("serving_gpu_models.py")), str(models)
    )
    for name in found.get("models", {}):
        found["models"][name] |= _served(name, models, scratch / name, length)
    print(f"on a GPU: {found.get('skipped', found)}", flush=True)
    return found


def _served(name: str, models: Path, scratch: Path, length: Length) -> dict[str, Any]:
    scratch.mkdir(parents=True)
    place = Place(models, scratch)
    command = ours(replace(WORKS[0], name=name, model=name), place)
    env = {**command.env, "MODELDROP_MAX_BATCH": str(MAX_BATCH)}
    running = Running(replace(command, env=env), scratch / "output.txt")
    body = (models / f"{name}.given.npy").read_bytes()
    try:
        seconds = running.until_right(lambda: _is_right(place.port, body, np.load(models / f"{name}.expected.npy")))
        target = Target(f"http://127.0.0.1:{place.port}{OURS.path}", body, {"Content-Type": NPY, "Accept": NPY})
        load(target, connections=CONNECTIONS, seconds=5)
        seen = middle([load(target, connections=CONNECTIONS, seconds=length.seconds) for _ in range(length.rounds)])
        return {"rows_per_s": 0.0 if seen.errors else ROWS * seen.rate, "p99_ms": seen.p99_ms, "started_s": seconds}
    except (NotStarted, OSError) as error:
        return {"rows_per_s": 0.0, "error": str(error)}
    finally:
        running.stop()


def _is_right(port: int, body: bytes, expected: Any) -> bool:
    """A GPU may multiply in TF32, so a hundredth is near enough."""
    status, answer = ask(port, OURS.path, body, NPY, accept=NPY)
    return status == 200 and np.allclose(np.load(io.BytesIO(answer)), expected, rtol=1e-2, atol=1e-2)
