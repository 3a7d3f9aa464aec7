"""Who answered, said in headers and body: as the replica says it of itself, for configuration proves nothing."""

from dataclasses import dataclass
from functools import lru_cache

import orjson

from chalicelib.domain.deployment import Deployment
from chalicelib.local.gateway.bodies import is_json
from chalicelib.local.gateway.messages import Headers, Response
from chalicelib.local.gateway.upstream import Answer

OURS = b"x-modeldrop-"
MODEL = b"x-modeldrop-model"
VERSION = b"x-modeldrop-version"
DIGEST = b"x-modeldrop-digest"
NONFINITE = b"x-modeldrop-nonfinite"
# The connection's own, what we say ourselves, and what model code may not set for our host.
_DROPPED = frozenset((
    b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"trailer", b"upgrade", b"date", b"server",
    b"set-cookie", MODEL, VERSION, DIGEST, b"x-modeldrop-deployment", b"x-modeldrop-endpoint",
    b"x-modeldrop-request-id",
))  # fmt: skip
_WHITE = b" \t\r\n"


@dataclass(frozen=True)
class Stamp:
    """Who answered: model, version and digest as the replica says, the deployment as we chose it."""

    model: str
    version: str
    digest: str
    deployment: str


def stamp_of(said: dict[bytes, bytes], id_: str, deployment: Deployment | None) -> Stamp:
    """Read who answered. A custom container says no names: then they are the deployment's, without a digest."""
    ref = deployment.ref if deployment else None
    return Stamp(
        model=said.get(MODEL, b"").decode("latin-1") or (ref.model_id if ref else ""),
        version=said.get(VERSION, b"").decode("latin-1") or (ref.version_id if ref else ""),
        digest=said.get(DIGEST, b"").decode("latin-1"),
        deployment=id_,
    )


def stamped(answer: Answer, stamp: Stamp, *own: tuple[bytes, bytes], joins_body: bool) -> Response:
    """Return the caller's response: the replica's, with who answered in the headers and, asked for, in the body."""
    passed = [pair for pair in answer.headers if pair[0] not in _DROPPED]
    headers, served_by = _spelled(stamp)
    body = answer.body
    if joins_body and any(name == b"content-type" and is_json(value.decode("latin-1")) for name, value in passed):
        body = _join(body, served_by)
    return Response(answer.status, body, (*passed, *headers, *own))


@lru_cache(maxsize=1024)
def _spelled(stamp: Stamp) -> tuple[Headers, bytes]:
    """Return the headers and the body's member that say who answered."""
    pairs = (
        (MODEL, stamp.model),
        (VERSION, stamp.version),
        (DIGEST, stamp.digest),
        (b"x-modeldrop-deployment", stamp.deployment),
    )
    return [(name, value.encode("latin-1")) for name, value in pairs if value], b'"served_by":' + orjson.dumps(stamp)


def _join(body: bytes, member: bytes) -> bytes:
    """Put a member at the end of a JSON object without parsing it; anything else stays as it is."""
    whole = body.rstrip(_WHITE)
    if not whole.endswith(b"}") or not body.lstrip(_WHITE).startswith(b"{"):
        return body
    inside = whole[:-1].rstrip(_WHITE)
    return b"%s%s%s}" % (inside, b"" if inside.endswith(b"{") else b",", member)
