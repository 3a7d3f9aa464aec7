"""Who answered a prediction, said in headers and body: as replicas say it of themselves, not as configured."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from chalicelib.domain.deployment import Deployment

MODEL = "X-Modeldrop-Model"
VERSION = "X-Modeldrop-Version"
DIGEST = "X-Modeldrop-Digest"
DEPLOYMENT = "X-Modeldrop-Deployment"
ENDPOINT = "X-Modeldrop-Endpoint"
REQUEST_ID = "X-Modeldrop-Request-Id"
NONFINITE = "X-Modeldrop-Nonfinite"
STICKY_KEY = "X-Modeldrop-Key"  # of a request: its holder stays with one version
ALIAS = "X-Modeldrop-Alias"  # of a request: who is to answer it; VERSION in a request says it, too
_WHITE = b" \t\r\n"


@dataclass(frozen=True)
class Stamp:
    """Who answered: model, version and digest as the replica says, the deployment as we chose it."""

    model: str
    version: str
    digest: str
    deployment: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say it; what isn't known is left out."""
        pairs = {MODEL: self.model, VERSION: self.version, DIGEST: self.digest, DEPLOYMENT: self.deployment}
        return {name: value for name, value in pairs.items() if value}

    @property
    def member(self) -> bytes:
        """The member of a JSON object that says it."""
        return b'"served_by":' + json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()


def stamp_of(said: Mapping[str, str], id_: str, deployment: Deployment | None) -> Stamp:
    """Read who answered from what a replica says (model, version, digest), each "" or missing if it doesn't.

    A custom container says no names: then they are the deployment's, without a digest.
    """
    ref = deployment.ref if deployment else None
    return Stamp(
        model=said.get("model") or (ref.model_id if ref else ""),
        version=said.get("version") or (ref.version_id if ref else ""),
        digest=said.get("digest", ""),
        deployment=id_,
    )


def join(body: bytes, member: bytes) -> bytes:
    """Put a member at the end of a JSON object without parsing it; anything else stays as it is."""
    whole = body.rstrip(_WHITE)
    if not whole.endswith(b"}") or not body.lstrip(_WHITE).startswith(b"{"):
        return body
    inside = whole[:-1].rstrip(_WHITE)
    return b"%s%s%s}" % (inside, b"" if inside.endswith(b"{") else b",", member)
