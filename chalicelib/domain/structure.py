"""What an answer is made of: types, names and lengths, as one readable line that is the same for answers built alike.

The batch axis has no length: `{"predictions": [[0.1, 0.9], [0.8, 0.2]]}` is `{predictions: n * [2 * number]}`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from pydantic_core import from_json

from chalicelib.domain.evidence import Count, evidence
from chalicelib.domain.predict_body import is_json

MARK = "structure "  # before a structure in the counts of a deployment
LARGEST = 256 * 2**10  # bytes of an answer that is looked at
LEAST_NEW = 3  # answers, to prove anything
ODDS = 2000.0  # as of the judge's checks
LONGEST = 160  # characters; of a longer one the rest is a digest
_DEEPEST = 12
_OK = 200


def structure_of(answer: Any) -> str:
    """Return the structure of a whole answer."""
    text = _batch(answer, 0) if isinstance(answer, list) else _of_whole(answer)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 10]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def marks_of(status: int, content_type: str, body: bytes) -> list[str]:
    """Return what is counted of an answer: nothing of an error, of one that isn't JSON, or of a large one."""
    if status != _OK or len(body) > LARGEST or not (content_type and is_json(content_type)):
        return []
    try:
        return [MARK + structure_of(from_json(body))]
    except ValueError:
        return []


def structures(marks: Mapping[str, int]) -> dict[str, int]:
    """Return how many answers of each structure were counted."""
    return {name.removeprefix(MARK): count for name, count in marks.items() if name.startswith(MARK)}


def new_ones(canary: Mapping[str, int], stable: Mapping[str, int]) -> tuple[Count, Count]:
    """Return how many of the canary's answers have a structure that stable never showed, and what that says.

    What stable shows once, it might as well not have shown yet: the share of its answers whose structure was seen only
    once is what a next one of its own would be new with (Good and Turing).
    """
    unseen = sum(count for structure, count in canary.items() if structure not in stable)
    once = sum(1 for count in stable.values() if count == 1)
    return Count(unseen, sum(canary.values())), Count(once, sum(stable.values()))


def changed(canary: Mapping[str, int], stable: Mapping[str, int], tolerance: float) -> str:
    """Return what is proven to be new in answers to the same requests; "" when nothing is."""
    new, once = new_ones(canary, stable)
    if not stable or new.bad < LEAST_NEW or evidence(new, once, tolerance) < log(ODDS):
        return ""
    return f"{new.bad} of {new.total} answers are built unlike stable's to the same requests: {example(canary, stable)}"


def example(canary: Mapping[str, int], stable: Mapping[str, int]) -> str:
    """Return the canary's most frequent structure that stable doesn't have, and stable's most frequent one."""
    unseen = [structure for structure in canary if structure not in stable]
    return f"{max(unseen, key=canary.__getitem__)} instead of {max(stable, key=stable.__getitem__)}"


# --- one answer --------------------------------------------------------------------------------------------------
def _of_whole(answer: Any) -> str:
    if not isinstance(answer, Mapping):
        return _of(answer, 0)
    members = {name: _member(name, value) for name, value in answer.items()}
    return "{" + ", ".join(f"{name}: {members[name]}" for name in sorted(members)) + "}"


def _member(name: str, value: Any) -> str:
    if name == "predictions" and isinstance(value, list):
        return _batch(value, 1)
    if name == "outputs" and _are_tensors(value):
        return "{" + ", ".join(sorted(map(_tensor, value))) + "}"
    return _of(value, 1)


def _batch(items: Sequence[Any], depth: int) -> str:
    return f"n * {_items(items, depth)}"


def _are_tensors(value: Any) -> bool:
    """Tell the outputs of the Open Inference Protocol: their data is flat, and their shape has the batch axis."""
    return isinstance(value, list) and all(
        isinstance(tensor, Mapping) and {"name", "datatype", "shape"} <= tensor.keys() for tensor in value
    )


def _tensor(tensor: Mapping[str, Any]) -> str:
    shape = tensor["shape"]
    axes = ["n", *map(str, shape[1:])] if isinstance(shape, list) and shape else ["?"]
    return f"{tensor['name']}: {tensor['datatype']} {' * '.join(axes)}"


def _of(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        return "…"
    match value:
        case bool():
            return "boolean"
        case int() | float() | None:  # null stands for a number that isn't finite
            return "number"
        case str():
            return "text"
        case list():
            return f"[{len(value)} * {_items(value, depth)}]"
        case _:
            members = ", ".join(f"{name}: {_of(value[name], depth + 1)}" for name in sorted(value))
            return "{" + members + "}"


def _items(items: Sequence[Any], depth: int) -> str:
    return " | ".join(sorted({_of(item, depth + 1) for item in items})) or "nothing"
