"""A second version loaded beside the first, in the same process, and swapped in between two requests.

It is asked for on a Unix socket of its own that only the server's user can open, never on the port: who can load
another folder chooses what is served. The first version answers on its own thread while the second loads on another;
what goes wrong with the second leaves the first as it is.
"""

import asyncio
import gc
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelserver.app import App, Reply
from modelserver.archive import MANIFEST
from modelserver.codec import loads
from modelserver.engine import ModelThread
from modelserver.errors import RequestError, bad_request
from modelserver.formats import python_predictor, saved_model, torch_archive
from modelserver.http import Cancel
from modelserver.loading import Loaded, say_ready, served, start_loading
from modelserver.log import emit, failure
from modelserver.messages import Request, Response, error_response, json_response
from modelserver.metrics import ServingMetrics
from modelserver.settings import Settings

LOAD = "/load"
# How long a thread that loads may keep the interpreter from the loop; Python's own 5 ms would show in every request.
SWITCH_S = 0.0002


@dataclass(slots=True)
class Current:
    """Where the version that is served was loaded from."""

    folder: Path
    scratch: Path


class HotLoad:
    """The control socket's application: `POST /load {"model_dir": FOLDER}` is answered once the swap is done."""

    def __init__(self, app: App, settings: Settings, metrics: ServingMetrics, current: Current) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._current = current
        self._loads = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_draining(self) -> bool:
        return self._app.is_draining

    def handle(self, request: Request, reply: Reply) -> Cancel | None:
        """Begin to load; a client that leaves does not stop what it began."""
        try:
            folder = self._folder(request)
        except RequestError as error:
            reply(error_response(error))
            return None
        self._task = asyncio.get_running_loop().create_task(self._load(folder, reply))
        return None

    def _folder(self, request: Request) -> Path:
        """Return the folder that is asked for; raise what stands against it now."""
        if request.path != LOAD:
            raise RequestError(404, "unknown_path", f"this socket takes POST {LOAD}, not {request.path}")
        if request.method != "POST":
            raise RequestError(405, "wrong_method", f"{LOAD} takes POST, not {request.method}")
        folder = wanted_folder(request.body)
        if self._app.state != "ready":
            raise RequestError(409, "not_ready", f"the server is {self._app.state}")
        if self._task is not None and not self._task.done():
            raise RequestError(409, "is_loading", "another version is loading already", retry_after=1)
        if why := cannot_swap(self._current.folder, folder):
            raise RequestError(409, "cannot_hot_load", f"{why}; start another server for it")
        return folder

    async def _load(self, folder: Path, reply: Reply) -> None:
        self._loads += 1
        scratch = self._current.scratch.parent / f"load-{self._loads}"
        scratch.mkdir()
        thread = ModelThread()
        settings = replace(self._settings, model_dir=folder)
        with unobtrusive():
            loaded = await start_loading(settings, scratch, thread, self._app.seen)
        if isinstance(loaded, BaseException):
            reply(self._failed(loaded, folder, scratch))
            thread.stop()
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            reply(self._swapped(loaded, thread, settings, Current(folder, scratch)))

    def _failed(self, error: BaseException, folder: Path, scratch: Path) -> Response:
        self._metrics.loads["failed"] += 1
        described = failure(error, (scratch / "model", folder))
        emit("hot_load_failed", **described)
        message = f"{described['error']} ({described['where']}); the version before is still served"
        return error_response(RequestError(422, "load_failed", message))

    def _swapped(self, loaded: Loaded, thread: ModelThread, settings: Settings, current: Current) -> Response:
        """From here on every request that is read is the new version's; those before end with the old one."""
        before = self._app.serve(served(loaded, thread, settings, self._metrics))
        old, self._current = self._current, current
        self._metrics.loads["served"] += 1
        say_ready("hot_loaded", loaded)
        if before is not None:
            before.engine.retire(lambda: _drop(old.scratch))
        was = before.digest if before else None
        return json_response(200, {"digest": loaded.digest, "was": was, "seconds": round(loaded.seconds, 3)})


def _drop(scratch: Path) -> None:
    emit("dropped", folder=str(scratch))
    asyncio.get_running_loop().run_in_executor(None, lambda: shutil.rmtree(scratch, ignore_errors=True))


def wanted_folder(body: bytes) -> Path:
    document: Any = loads(body)
    named = document.get("model_dir") if isinstance(document, dict) else None
    if not isinstance(named, str) or not Path(named).is_absolute():
        raise bad_request("bad_folder", 'the body must be {"model_dir": FOLDER} with an absolute path', "model_dir")
    if not Path(named).is_dir():
        raise bad_request("bad_folder", f"{named} is no folder that this server can see", "model_dir")
    return Path(named)


def cannot_swap(current: Path, wanted: Path) -> str:
    """Say why the two can't share a process; empty where they can.

    A version that brings Python stays alone: its modules, working folder and global state would be the other's too.
    """
    for folder in (current, wanted):
        if why := runs_code(folder):
            return f"{folder} {why}, and code of two versions can't share a process"
    if saved_model.claims(current) != saved_model.claims(wanted):
        return "the two versions need different frameworks"
    return ""


def runs_code(folder: Path) -> str:
    """Say which code of its own a version would run while it loads or predicts."""
    if saved_model.claims(folder):
        return ""
    if python_predictor.claims(folder):
        return "is a Python predictor"
    return _archived_code(folder) if torch_archive.claims(folder) else ""


def _archived_code(folder: Path) -> str:
    path = folder / torch_archive.ARCHIVE
    try:
        with zipfile.ZipFile(path if path.is_file() else next(folder.glob("*.mar"))) as archive:
            model = json.loads(archive.read(MANIFEST)).get("model", {})
            names = archive.namelist()
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile):
        return ""  # loading says it better
    if model.get("handler") != "base_handler" or "base_handler.py" in names:
        return f"has the handler {model.get('handler')!r}"
    return f"has the model file {model['modelFile']}" if model.get("modelFile") else ""


@contextmanager
def unobtrusive() -> Iterator[None]:
    """While a version loads, hand the interpreter over often and walk no garbage."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        sys.setswitchinterval(interval)
