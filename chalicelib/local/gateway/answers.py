"""Who answered, said in headers and body: as the replica says it of itself, for configuration proves nothing."""

from functools import lru_cache

from chalicelib.domain import served_by
from chalicelib.domain.deployment import Deployment
from chalicelib.domain.predict_body import is_json
from chalicelib.domain.served_by import Stamp
from chalicelib.local.gateway.messages import Headers, Response
from chalicelib.local.gateway.upstream import Answer

NONFINITE = served_by.NONFINITE.lower().encode()
_SAID = {
    served_by.MODEL.lower().encode(): "model",
    served_by.VERSION.lower().encode(): "version",
    served_by.DIGEST.lower().encode(): "digest",
}
# The connection's own, what we say ourselves (to SageMaker, too), and what model code may not set for our host.
_DROPPED = frozenset((
    b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"trailer", b"upgrade", b"date", b"server",
    b"set-cookie", b"x-amzn-sagemaker-custom-attributes", *_SAID,
    b"x-modeldrop-deployment", b"x-modeldrop-endpoint", b"x-modeldrop-request-id",
))  # fmt: skip


def stamp_of(said: dict[bytes, bytes], id_: str, deployment: Deployment | None) -> Stamp:
    """Read who answered from a replica's headers."""
    names = {name: said.get(header, b"").decode("latin-1") for header, name in _SAID.items()}
    return served_by.stamp_of(names, id_, deployment)


def stamped(answer: Answer, stamp: Stamp, *own: tuple[bytes, bytes], joins_body: bool) -> Response:
    """Return the caller's response: the replica's, with who answered in the headers and, asked for, in the body."""
    passed = [pair for pair in answer.headers if pair[0] not in _DROPPED]
    headers, member = _spelled(stamp)
    body = answer.body
    if joins_body and any(name == b"content-type" and is_json(value.decode("latin-1")) for name, value in passed):
        body = served_by.join(body, member)
    return Response(answer.status, body, (*passed, *headers, *own))


@lru_cache(maxsize=1024)
def _spelled(stamp: Stamp) -> tuple[Headers, bytes]:
    """Return the headers and the body's member that say who answered."""
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in stamp.headers.items()]
    return pairs, stamp.member
