"""Media types: what a request's body is, and what its answer may be."""

from collections.abc import Mapping

from modelserver.errors import RequestError
from modelserver.messages import JSON

NPY = "application/x-npy"
OCTETS = "application/octet-stream"
# No type at all is JSON, and so is what curl says of `-d` unless it is told otherwise: TF Serving takes both.
JSON_TYPES = frozenset({"", JSON, "text/json", "application/x-www-form-urlencoded"})
ANY = frozenset({"*/*", "application/*"})
# What a body or an answer is almost always: these need no look.
PLAIN_BODIES = frozenset({None, JSON})
PLAIN_ACCEPTS = frozenset({None, "*/*", JSON})
SIGNATURE = "x-modeldrop-signature"
# In this header a handler's context shows the request's `parameters`, as JSON.
PARAMETERS = "x-modeldrop-parameters"


def is_plain(headers: Mapping[str, str]) -> bool:
    """Say whether a request is JSON both ways, for the signature that is meant where none is named."""
    return (
        headers.get("content-type") in PLAIN_BODIES
        and headers.get("accept") in PLAIN_ACCEPTS
        and "content-encoding" not in headers
        and SIGNATURE not in headers
    )


def media_type(headers: Mapping[str, str]) -> str:
    """The body's type without its parameters; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(headers: Mapping[str, str]) -> bool:
    kind = media_type(headers)
    return kind in JSON_TYPES or kind.endswith("+json")


def unsupported(headers: Mapping[str, str], taken: str) -> RequestError:
    """The 415 that names what would have been taken."""
    message = f"this model takes {taken} here, not {media_type(headers) or 'a body without a type'}"
    return RequestError(415, "unsupported_media_type", message, where="content-type")


def refuse_encoding(headers: Mapping[str, str]) -> None:
    """Raise 415 for a compressed body: it could be of any size."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"the body is encoded as {encoding}; send it as it is"
        raise RequestError(415, "unsupported_encoding", message, where="content-encoding")


def wants_npy(headers: Mapping[str, str]) -> bool:
    """Say which of JSON and .npy is accepted, JSON where both are alike; raise 406 where neither is."""
    weights = _weights(headers.get("accept", ""))
    json = max((weights[kind] for kind in (JSON, *ANY) if kind in weights), default=0.0)
    npy = weights.get(NPY, 0.0)
    if weights and not json and not npy:
        message = f"answers are {JSON} or {NPY}, not {headers['accept']}"
        raise RequestError(406, "not_acceptable", message, where="accept")
    return npy > 0 and npy >= json and (JSON not in weights or npy > json or _before(headers["accept"]))


def _before(accept: str) -> bool:
    """Of two that are alike the one that is named first is meant."""
    text = accept.lower()
    return text.index(NPY) < text.index(JSON)


def _weights(accept: str) -> dict[str, float]:
    parts = (part.partition(";") for part in accept.lower().split(","))
    return {kind.strip(): _weight(rest) for kind, _, rest in parts if kind.strip()}


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip() == "q":
            return _number(value)
    return 1.0


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
