"""From a folder to a version that answers: load, warm up and digest on a model thread, then put an engine before it."""

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from modelserver import formats
from modelserver.app import Served
from modelserver.batching import LONG_S, SHORT_S, Pace
from modelserver.digest import folder_digest
from modelserver.engine import Engine, ModelThread
from modelserver.formats import Model
from modelserver.log import emit
from modelserver.metrics import ServingMetrics
from modelserver.outcomes import RAISED
from modelserver.rows import Rows
from modelserver.settings import Settings
from modelserver.warmup import warm_up

# A full collection walks what a model and its framework hold for ever: rarely, then.
GC_THRESHOLDS = (10_000, 20, 50)
# TorchScript watches a first call, compiles on the second, and is as fast as it gets from the third on.
REHEARSALS = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    model: Model
    digest: str
    warmup: str
    seconds: float


def start_loading(
    settings: Settings, scratch: Path, thread: ModelThread, seen: Rows | None = None
) -> "asyncio.Future[Loaded | BaseException]":
    """Load on the model's own thread; what the model raises is the answer. `seen` is a request to warm it up with."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Loaded | BaseException] = loop.create_future()

    def load() -> None:
        loop.call_soon_threadsafe(_tell, done, _load(settings, scratch, seen))

    thread.submit(load)
    return done


def _tell(done: "asyncio.Future[Loaded | BaseException]", loaded: Loaded | BaseException) -> None:
    if not done.done():
        done.set_result(loaded)


def _load(settings: Settings, scratch: Path, seen: Rows | None) -> Loaded | BaseException:
    started = time.monotonic()
    try:
        with ThreadPoolExecutor(1) as pool:
            digest = pool.submit(folder_digest, settings.model_dir)
            model = formats.load(settings, scratch)
            warmup = warm_up(model, settings)
            if seen is not None:
                warmup += _rehearsed(model, seen)
            return Loaded(model, digest.result(), warmup, time.monotonic() - started)
    except BaseException as error:  # noqa: BLE001 - a model may raise anything while it loads
        return error


def _rehearsed(model: Model, seen: Rows) -> str:
    """Repeat a request of the version before, as often as a framework takes to settle; this one may refuse it."""
    try:
        for _ in range(REHEARSALS):
            model.predict([seen])
    except RAISED:
        return ""
    return ", and a request of the version before"


def served(loaded: Loaded, thread: ModelThread, settings: Settings, metrics: ServingMetrics) -> Served:
    model = loaded.model
    engine = Engine(
        model.predict,
        [thread, *(ModelThread() for _ in range(beside(model, settings)))],
        max_queue=settings.max_queue,
        timeout_s=_timeout_s(model, settings),
        observer=metrics,
        pace=Pace(
            may_be_short=model.only_computes,
            most=model.max_batch or settings.max_batch,
            max_delay_s=float("inf") if model.max_delay_s is None else model.max_delay_s,
            short_s=SHORT_S if settings.threads > 1 else LONG_S,
        ),
    )
    return Served(model, engine, loaded.digest, loaded.warmup)


def beside(model: Model, settings: Settings) -> int:
    """How many calls may be made beside another: a core each on a CPU, where nothing but arithmetic is done."""
    return settings.threads // settings.call_threads - 1 if model.only_computes and model.device == "cpu" else 0


def _timeout_s(model: Model, settings: Settings) -> float:
    """A model may ask for less time than the operator gives, never for more."""
    wished: float | None = getattr(model, "request_timeout_s", None)
    return min(wished or settings.request_timeout_s, settings.request_timeout_s)


def leave_to_stay() -> None:
    """Take what is loaded now, and stays, out of every later garbage collection; to collect first would delay ready."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def say_ready(event: str, loaded: Loaded) -> None:
    model = loaded.model
    emit(
        event,
        digest=loaded.digest,
        format=model.format,
        device=model.device,
        warmup=loaded.warmup,
        seconds=round(loaded.seconds, 3),
    )
