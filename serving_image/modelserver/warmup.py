"""The requests that are made before ready: the model's own, else one made from its schema."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from modelserver.errors import LoadError, RequestError
from modelserver.formats import Model
from modelserver.rows import Rows

FILES = ("warmup.jsonl", "golden.jsonl")
NONE = "no sample request"


def warm_up(model: Model, folder: Path) -> str:
    """Run the requests and say where they came from; what a request raises is a failed load."""
    for name in FILES:
        if (folder / name).is_file():
            return _replay(model, folder / name)
    sample = model.sample()
    if sample is None:
        return NONE
    model.predict([sample.rows])
    return sample.origin


def _replay(model: Model, path: Path) -> str:
    count = 0
    for number, rows in _requests(model, path):
        try:
            model.predict([rows])
        except RequestError as error:
            raise LoadError(f"{path.name} line {number}: {error.message}") from error
        count += 1
    return f"{count} requests of {path.name}" if count else NONE


def _requests(model: Model, path: Path) -> Iterator[tuple[int, Rows]]:
    for number, line in _lines(path):
        try:
            yield number, model.rows_of_instances(_body(line), {})
        except RequestError as error:
            where = f" at {error.where}" if error.where else ""
            raise LoadError(f"{path.name} line {number}{where}: {error.message}") from error


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _body(line: bytes) -> bytes:
    """A line is a whole request, or one instance of one."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, "malformed_json", f"not JSON: {error}") from None
    if isinstance(document, dict) and isinstance(document.get("instances"), list):
        return line
    value = document["instance"] if isinstance(document, dict) and "instance" in document else document
    return orjson.dumps({"instances": [value]})
