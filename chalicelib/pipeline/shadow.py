"""Ask a canary what a caller has already been answered by stable, compare, and count: the same wherever it runs.

Nobody waits for it. A copy that can't be asked, or that comes too late, is counted and forgotten.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from chalicelib.domain.invocation import Busy, NoAnswer, Reply, TimedOut
from chalicelib.domain.shadow import DROPPED, Comparison, Copy, compare
from chalicelib.pipeline.ports import Bucket, Invoker

PATIENCE = 10.0  # seconds, of the shadow alone
KEPT = 50  # disagreements of a rollout: each new one takes an old one's place
FOLDER = "_disagreements/"  # of the model store
_MOST_TEXT = 32_768  # characters of a request, and of each answer
_NONFINITE = "nonfinite"


class Count(Protocol):
    def __call__(self, deployment_id: str, *, status: int, milliseconds: float, nonfinite: bool) -> None:
        """Add one request; `status` 502 or 504 stands for no answer."""
        ...


class Mark(Protocol):
    def __call__(self, deployment_id: str, names: Sequence[str]) -> None:
        """Count what was seen, by name."""
        ...


@dataclass(frozen=True)
class World:
    """What a shadow is asked and counted with.

    `takes` tells whether a copy is to be asked: the endpoint still has this shadow, and the request wasn't asked yet.
    `keep` writes an object of the model store.
    """

    invoker: Invoker
    count: Count
    mark: Mark
    keep: Callable[[str, bytes], None]
    takes: Callable[[Copy], bool]
    seconds: Callable[[], float]


def ask_shadow(copy: Copy, world: World) -> None:
    """Ask the canary one copied request and count what comes of it; nothing of a shadow that has ended."""
    if not world.takes(copy):
        return
    started = world.seconds()
    canary = copy.to.deployment
    try:
        reply = world.invoker.invoke(canary, copy.call, PATIENCE)
    except Busy:
        world.mark(canary, [DROPPED])
        return
    except NoAnswer as problem:
        status = HTTPStatus.GATEWAY_TIMEOUT if isinstance(problem, TimedOut) else HTTPStatus.BAD_GATEWAY
        world.count(canary, status=status, milliseconds=0.0, nonfinite=False)
        return
    nonfinite = reply.attributes.get(_NONFINITE, "0") != "0"
    world.count(canary, status=reply.status, milliseconds=(world.seconds() - started) * 1000, nonfinite=nonfinite)
    found = compare(copy.to.how, copy.live, reply)
    if found.marks:
        world.mark(canary, found.marks)
    if found.disagreement and copy.to.how.keep_disagreements:
        world.keep(_key(copy), _example(copy, reply, found))


# --- disagreements -----------------------------------------------------------------------------------------------
def disagreements(rollout_id: str, store: Bucket) -> list[dict[str, Any]]:
    """Return the requests that a shadow answered otherwise, as far as they were kept."""
    bodies = (store.get(_place(rollout_id, place)) for place in range(KEPT))
    return [json.loads(body) for body in bodies if body]


def _key(copy: Copy) -> str:
    """Return a place of the ring that follows from the request, so that a repeat is kept once."""
    place = int.from_bytes(hashlib.sha256(copy.id.encode()).digest()[:4]) % KEPT
    return _place(copy.to.rollout, place)


def _place(rollout_id: str, place: int) -> str:
    return f"{FOLDER}{rollout_id}/{place:02}.json"


def _example(copy: Copy, reply: Reply, found: Comparison) -> bytes:
    texts = {"request": copy.call.body, "live": copy.live.body, "shadow": reply.body}
    said = {name: _text(body) for name, body in texts.items()}
    return json.dumps({"request_id": copy.id, "why": found.disagreement, **said}, ensure_ascii=False).encode()


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = f"base64:{base64.b64encode(body).decode()}"
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"
