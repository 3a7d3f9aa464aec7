"""Finding a handler in an archive as TorchServe does: a function, or exactly one class."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from modelserver.archive import Archive
from modelserver.context import Context
from modelserver.errors import LoadError

DEFAULT_HANDLERS = ("base_handler", "image_classifier", "image_segmenter", "object_detector", "text_classifier")


@dataclass(frozen=True, slots=True)
class Handler:
    handle: Callable[[Any, Context], Any]
    initialize: Callable[[Context], Any]
    accepts_arrays: bool


def find_handler(archive: Archive) -> Handler:
    """Import the handler that the manifest names; raise LoadError that says what is missing."""
    name = str(archive.model.get("handler") or "")
    if not name:
        raise LoadError("the manifest names no handler; archive the model with --handler")
    module_name, _, function = name.partition(":")
    path = _handler_file(archive.folder, module_name)
    module = import_file(path) if path else _import_default(module_name)
    return _entry_point(module, function or "handle")


def is_default(archive: Archive) -> bool:
    """Say whether the handler comes with TorchServe instead of the archive."""
    name = str(archive.model.get("handler") or "")
    return ":" not in name and _handler_file(archive.folder, name) is None


def _handler_file(folder: Path, module_name: str) -> Path | None:
    path = folder / (module_name.removesuffix(".py").rsplit("/", 1)[-1] + ".py")
    return path if path.is_file() else None


def import_file(path: Path) -> ModuleType:
    # A handler file may be called like a module that is loaded already (json.py): it must not replace that.
    name = path.stem if path.stem not in sys.modules else f"_handler_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path.name} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_default(name: str) -> ModuleType:
    if name not in DEFAULT_HANDLERS:
        raise LoadError(f"handler {name!r} is neither a file of the archive nor one of {', '.join(DEFAULT_HANDLERS)}")
    try:
        return importlib.import_module(f"ts.torch_handler.{name}")
    except ImportError as error:
        message = f"the default handler {name} needs {error.name or error}, which this image does not have"
        raise LoadError(f"{message}; install it or archive the model with a handler of your own") from error


def _entry_point(module: ModuleType, function: str) -> Handler:
    entry = getattr(module, function, None)
    if callable(entry):
        # TorchServe initializes a function by calling it without data.
        return Handler(entry, lambda context: entry(None, context), _accepts_arrays(entry, module))
    return _class_entry_point(module)  # as TorchServe does, whatever function is named


def _class_entry_point(module: ModuleType) -> Handler:
    service = the_class(module)()
    for method in ("initialize", "handle"):
        if not callable(getattr(service, method, None)):
            raise LoadError(f"handler class {type(service).__name__} has no method {method}")
    return Handler(service.handle, service.initialize, _accepts_arrays(service))


def the_class(module: ModuleType) -> Any:
    """The only class that a module defines; raise LoadError that names all where there are more."""
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    if len(classes) != 1:
        found = ", ".join(c.__name__ for c in classes) or "none"
        raise LoadError(f"{module.__name__}.py must have a function handle or exactly one class; found: {found}")
    return classes[0]


def _accepts_arrays(*owners: Any) -> bool:
    return any(getattr(owner, "accepts_arrays", False) is True for owner in owners)
