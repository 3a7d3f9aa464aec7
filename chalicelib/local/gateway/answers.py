"""Who answered, said in headers and body: as the replica says it of itself, for configuration proves nothing."""

from collections.abc import Mapping
from functools import lru_cache

from chalicelib.domain import served_by
from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.predict_body import is_json
from chalicelib.local.gateway.messages import Response
from chalicelib.local.gateway.upstream import Answer

NONFINITE = served_by.NONFINITE.lower().encode()
_MODEL, _VERSION, _DIGEST = (n.lower().encode() for n in (served_by.MODEL, served_by.VERSION, served_by.DIGEST))
_SAID = {_MODEL: "model", _VERSION: "version", _DIGEST: "digest"}
# The connection's own, what we say ourselves (to SageMaker, too), and what model code may not set for our host.
_DROPPED = frozenset((
    b"connection", b"keep-alive", b"content-length", b"transfer-encoding", b"trailer", b"upgrade", b"date", b"server",
    b"set-cookie", b"x-amzn-sagemaker-custom-attributes", *_SAID,
    b"x-modeldrop-deployment", b"x-modeldrop-endpoint", b"x-modeldrop-request-id",
))  # fmt: skip


_MOST = 256  # stamps kept for one endpoint: what a replica says of itself might change with every answer
Said = Mapping[bytes, bytes]


class Stamps:
    """Who answers for an endpoint, spelled once: as header lines and as a member of the body."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._spelled: dict[tuple[str | bytes | None, ...], tuple[bytes, bytes]] = {}

    def of(self, said: Said, deployment: str) -> tuple[bytes, bytes]:
        """Return (header lines, member) for an answer with these headers."""
        known = (deployment, said.get(_MODEL), said.get(_VERSION), said.get(_DIGEST))
        found = self._spelled.get(known)
        if found is None:
            if len(self._spelled) >= _MOST:
                self._spelled.clear()
            found = self._spelled[known] = self._spell(said, deployment)
        return found

    def _spell(self, said: Said, id_: str) -> tuple[bytes, bytes]:
        names = {name: said.get(header, b"").decode("latin-1") for header, name in _SAID.items()}
        stamp = served_by.stamp_of(names, id_, self.endpoint.deployments.get(id_))
        pairs = [b"%s: %s\r\n" % (n.lower().encode(), v.encode("latin-1")) for n, v in stamp.headers.items()]
        return b"".join(pairs), stamp.member


def stamped(answer: Answer, stamp: tuple[bytes, bytes], own: bytes, *, joins_body: bool) -> Response:
    """Return the caller's response: the replica's, with who answered in the headers and, asked for, in the body."""
    lines, member = stamp
    passed = [pair for pair in answer.headers if pair[0] not in _DROPPED]
    body = answer.body
    if joins_body and (kind := answer.fields.get(b"content-type")) is not None and _is_json(kind):
        body = served_by.join(body, member)
    return Response(answer.status, body, passed, lines + own)


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    return is_json(content_type.decode("latin-1"))
