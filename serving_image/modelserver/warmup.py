"""The requests that are made before ready: the version's own, else one made from its schema."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from modelserver.contracts import instances, native, v2_request
from modelserver.errors import RequestError, named
from modelserver.formats import Model
from modelserver.messages import JSON, Request
from modelserver.rows import Rows
from modelserver.settings import Settings

FILES = ("warmup.jsonl", "golden.jsonl")
NONE = "no sample request"
REQUEST = "request"
# What golden.jsonl says about the answers, which is none of the model's business.
EXPECTED = frozenset({"expected", "tolerance", "class", "top_k"})
REQUESTS = frozenset({"instance", "instances", REQUEST})


def warm_up(model: Model, settings: Settings) -> str:
    """Run the requests and say where they came from; what a request raises is a failed load."""
    said = [*_packed(model, settings.model_dir), *_lines_of_files(model, settings)]
    if said:
        return ", ".join(said)
    sample = model.sample()
    if sample is None:
        return NONE
    model.predict([sample.rows])
    return sample.origin


def _packed(model: Model, folder: Path) -> list[str]:
    """Replay what the format itself packs with a model, where it does."""
    recorded: Any = getattr(model, "recorded_requests", None)
    return list(recorded(folder)) if recorded else []


def _lines_of_files(model: Model, settings: Settings) -> list[str]:
    found = next((p for p in (settings.model_dir / name for name in FILES) if p.is_file()), None)
    count = _replay(model, settings, found) if found else 0
    return [f"{count} requests of {found.name}"] if found and count else []


def _replay(model: Model, settings: Settings, path: Path) -> int:
    count = 0
    for number, line in _lines(path):
        with named(f"{path.name} line {number}"):
            rows = _rows(model, settings, line)
            if rows is not None:
                model.predict([rows])
                count += 1
    return count


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _rows(model: Model, settings: Settings, line: bytes) -> Rows | None:
    """A line is a whole request of a contract, or one instance of one; None for what is no request."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "malformed_json", f"not JSON: {error}") from None
    if isinstance(document, dict):
        if list(document) == ["metric"] and isinstance(document["metric"], dict):
            return None
        if REQUESTS & document.keys():
            document = {name: value for name, value in document.items() if name not in EXPECTED}
            line = orjson.dumps(document)
    if _is_v2(document):
        return v2_request.parse(settings, model, _posted(line)).rows
    if isinstance(document, dict) and list(document) == [REQUEST]:
        return native.parse(model, _posted(orjson.dumps(document[REQUEST]))).rows
    if isinstance(document, dict) and isinstance(document.get("instances"), list):
        return instances.parse(model, _posted(line)).rows
    value = document["instance"] if isinstance(document, dict) and "instance" in document else document
    return instances.parse(model, _posted(orjson.dumps({"instances": [value]}))).rows


def _posted(body: bytes) -> Request:
    return Request("POST", "/", {"content-type": JSON}, body)


def _is_v2(document: Any) -> bool:
    """Say whether it is the Open Inference Protocol's: a list of tensors with their types."""
    inputs = document.get("inputs") if isinstance(document, dict) else None
    return isinstance(inputs, list) and all(isinstance(i, dict) and "datatype" in i for i in inputs) and bool(inputs)
