"""Every server of the comparison: how it is started for a work, its contract, and how it was tuned.

What each peer was given is the best of what was tried: see `says`. Each of its processes computes on one thread: the
bare forwards were slower with two on two cores, which the server and the load need too. Ours runs its defaults.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from benchmarks.serving_peers import BIN, HERE
from benchmarks.serving_process import Command, free_port
from benchmarks.serving_work import Contract, Work

Role: TypeAlias = Literal["ours", "peer", "handler", "limit", "shown"]
IMAGE = Path(__file__).resolve().parents[1] / "serving_image"
THREADS = "1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one server of one work lives."""

    models: Path
    scratch: Path
    port: int = field(default_factory=free_port)


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    contract: Contract
    path: str
    command: Callable[[Work, Place], Command]
    says: str
    role: Role = "peer"

    @property
    def has_model(self) -> bool:
        return self.role != "limit"


def _env(**more: str) -> dict[str, str]:
    """What a supervisor gives: a path, a home, no bytecode written twice."""
    return {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/tmp"), **more}  # noqa: S108


def _peer_env(work: Work, place: Place, **more: str) -> dict[str, str]:
    return _env(
        PEER_MODEL=str(weights(work, place)),
        PEER_THREADS=THREADS,
        PYTHONPATH=str(HERE),
        OMP_NUM_THREADS=THREADS,
        TF_CPP_MIN_LOG_LEVEL="3",
        **more,
    )


def weights(work: Work, place: Place) -> Path:
    return place.models / f"{work.model}.pt"


# --- ours -------------------------------------------------------------------------------------------------------------
def archive(work: Work, place: Place, handler: str, *extra: Path) -> Path:
    """Make a real `.mar` in a folder of its own with the archiver; return the folder."""
    folder = place.scratch / "model"
    # The archiver wipes its temporary folder of the model's name.
    for path in (folder, place.scratch / "tmp"):
        path.mkdir()
    command = [
        str(Path(sys.executable).parent / "torch-model-archiver"),
        *("--model-name", "model", "--version", "1", "--export-path", str(folder)),
        *("--serialized-file", str(weights(work, place)), "--handler", handler),
        *(["--extra-files", ",".join(map(str, extra))] if extra else []),
    ]
    env = _env(TMPDIR=str(place.scratch / "tmp"))
    subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return folder


def _ours(folder: Path, work: Work, place: Place) -> Command:
    env = _env(
        PYTHONPATH=str(IMAGE),
        MODEL_DIR=str(folder),
        AIP_HTTP_PORT=str(place.port),
        TMPDIR=str(place.scratch / "tmp"),
        MODELDROP_PROCESSES="1" if is_long(work) else "2",
    )
    (place.scratch / "tmp").mkdir(exist_ok=True)
    return Command([sys.executable, "-m", "modelserver"], env, place.scratch)


def ours(work: Work, place: Place) -> Command:
    """The base handler, which runs on arrays; pictures need a handler of their own."""
    if work.is_picture:
        return _ours(archive(work, place, str(HERE / "picture_handler.py"), HERE / "forward.py"), work, place)
    return _ours(archive(work, place, "base_handler"), work, place)


def ours_with_lists(work: Work, place: Place) -> Command:
    return _ours(archive(work, place, str(HERE / "list_handler.py")), work, place)


def ours_with_arrays(work: Work, place: Place) -> Command:
    return _ours(archive(work, place, str(HERE / "array_handler.py")), work, place)


def ours_saved_model(work: Work, place: Place) -> Command:
    return _ours(saved_model(work, place), work, place)


# --- peers ------------------------------------------------------------------------------------------------------------
def is_long(work: Work) -> bool:
    return work.name == "w4"


def torchserve(workers: int) -> Callable[[Work, Place], Command]:
    def command(work: Work, place: Place) -> Command:
        store = archive(work, place, str(HERE / "torchserve_handler.py"), HERE / "forward.py")
        config = place.scratch / "config.properties"
        config.write_text(_torchserve_config(place.port, store, workers))
        arguments = ["--start", "--foreground", "--ncs", "--disable-token-auth", "--ts-config", str(config)]
        env = _peer_env(work, place, LOG_LOCATION=str(place.scratch), TEMP=str(place.scratch))
        return Command([str(BIN / "torchserve"), *arguments], env | {"TMPDIR": str(place.scratch)}, place.scratch)

    return command


def _torchserve_config(port: int, store: Path, workers: int) -> str:
    model = {"defaultVersion": True, "marName": "model.mar", "minWorkers": workers, "maxWorkers": workers}
    model |= {"batchSize": 32, "maxBatchDelay": 1, "responseTimeout": 120}
    lines = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{free_port()}",
        "metrics_address": f"http://127.0.0.1:{free_port()}",
        "grpc_inference_port": free_port(),
        "grpc_management_port": free_port(),
        "model_store": store,
        "load_models": "model.mar",
        "models": json.dumps({"model": {"1": model}}),
        "disable_token_authorization": "true",
        "job_queue_size": 1000,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def fastapi(work: Work, place: Place) -> Command:
    return _uvicorn("fastapi_app:app", place, _peer_env(work, place))


def fastapi_plain(work: Work, place: Place) -> Command:
    return _uvicorn("fastapi_plain_app:app", place, _peer_env(work, place))


def fastapi_saved_model(work: Work, place: Place) -> Command:
    env = _peer_env(work, place) | {"PEER_MODEL": str(saved_model(work, place))}
    return _uvicorn("fastapi_app:app", place, env)


def echo(work: Work, place: Place) -> Command:
    del work
    return _uvicorn("echo_app:app", place, _env(PYTHONPATH=str(HERE)))


def _uvicorn(app: str, place: Place, env: Mapping[str, str]) -> Command:
    arguments = ["--host", "127.0.0.1", "--port", str(place.port), "--workers", "2", "--loop", "uvloop"]
    # Its supervisor must not take a frozen worker for a dead one.
    arguments += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
    arguments += ["--timeout-worker-healthcheck", "3600"]
    return Command([str(BIN / "python"), "-m", "uvicorn", app, *arguments], env, place.scratch)


def litserve(work: Work, place: Place) -> Command:
    long = is_long(work)
    env = _peer_env(
        work,
        place,
        PEER_PORT=str(place.port),
        PEER_WORKERS="2" if long else "1",
        PEER_BATCH="32" if long else "1",
        PEER_FAST_QUEUE="1",
    )
    return Command([str(BIN / "python"), str(HERE / "litserve_app.py")], env, place.scratch)


def mlserver(work: Work, place: Place) -> Command:
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": place.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 2 if is_long(work) else 0,
    }
    model: dict[str, Any] = {"name": "model", "implementation": "mlserver_runtime.Runtime"}
    if is_long(work):
        model |= {"max_batch_size": 32, "max_batch_time": 0.001}
    (place.scratch / "settings.json").write_text(json.dumps(settings))
    (place.scratch / "model-settings.json").write_text(json.dumps(model))
    return Command([str(BIN / "mlserver"), "start", str(place.scratch)], _peer_env(work, place), place.scratch)


# --- all of them ------------------------------------------------------------------------------------------------------
OURS = Server(
    "ours", "instances", "/predict", ours, "base_handler (pictures: accepts_arrays); 2 processes, for w4 1", "ours"
)
PEERS = (
    Server("TorchServe, 1 worker", "octets", "/predictions/model", torchserve(1), "batch 32, delay 1 ms, orjson"),
    Server("TorchServe, 2 workers", "octets", "/predictions/model", torchserve(2), "batch 32, delay 1 ms, orjson"),
    Server("FastAPI", "instances", "/predict", fastapi, "uvicorn with 2 processes, uvloop, httptools, orjson"),
    Server("LitServe", "instances", "/predict", litserve, "1 worker, fast queue; for w4 2 workers, batches of 32"),
    Server("MLServer", "v2", "/v2/models/model/infer", mlserver, "in its own process; for w4 2 workers, batches of 32"),
)
# Not in the goals: what a tutorial makes of FastAPI, beside what can be made of it.
PLAIN = Server(
    "FastAPI, as in its tutorial",
    "instances",
    "/predict",
    fastapi_plain,
    "uvicorn with 2 processes; pydantic, def",
    "shown",
)
ECHO = Server("uvicorn, no model", "instances", "/predict", echo, "2 processes; reads, answers {}", "limit")
HANDLERS = (
    Server("ours, handler takes lists", "instances", "/predict", ours_with_lists, "a handler as most are", "handler"),
    Server("ours, handler takes arrays", "instances", "/predict", ours_with_arrays, "accepts_arrays", "handler"),
)
SAVED_MODELS = (
    Server("ours, SavedModel", "instances", "/predict", ours_saved_model, "serving_default", "ours"),
    Server("FastAPI + tf", "instances", "/predict", fastapi_saved_model, "uvicorn with 2 processes, orjson"),
)


def saved_model(work: Work, place: Place) -> Path:
    return place.models / f"{work.model}.saved_model"
