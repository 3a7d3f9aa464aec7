"""SageMaker: GET /ping, POST /invocations.

InvokeEndpoint strips every header but the content type and one of its own, both ways: what other contracts say in
headers is said there, as `key=value` pairs joined by `;`. In: `trace` (the request's id), `contract=instances` (as
/predict reads a body), `signature_name` (of a SavedModel), `modeldrop-probe` (who are you? the model isn't run). Out:
digest, nonfinite, trace.
"""

from dataclasses import replace
from urllib.parse import unquote

from modelserver.contracts import Call, HealthRoute, PredictRoute, Route, native, oci
from modelserver.formats import Model
from modelserver.media import SIGNATURE
from modelserver.messages import DIGEST, NONFINITE, Request, Response
from modelserver.settings import Settings

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
MAX_LENGTH = 1024  # characters: a longer header would fail the answer
PROBE = "modeldrop-probe"
# What is said there for want of these headers.
HEADERS = {"trace": "x-request-id", "signature_name": SIGNATURE}


def routes(settings: Settings) -> list[Route]:
    del settings
    return [HealthRoute("/ping"), PredictRoute("/invocations", parse, is_probe=is_probe, finish=with_attributes)]


def parse(model: Model, request: Request) -> Call:
    """The model's own contract, unless instances are meant; the trace is the request's id for a handler."""
    said = attributes_of(request)
    meant = {header: unquote(said[key]) for key, header in HEADERS.items() if said.get(key)}
    if meant:
        request = replace(request, headers={**meant, **request.headers})
    return oci.parse(model, request) if said.get("contract") == "instances" else native.parse(model, request)


def is_probe(request: Request) -> bool:
    return PROBE in attributes_of(request)


def with_attributes(request: Request, response: Response) -> Response:
    """Say in the one header what the others say; a model's own doesn't pass, for it could claim another digest."""
    own = {name: value for name, value in response.headers.items() if name.lower() != ATTRIBUTES.lower()}
    digest = {"digest": own[DIGEST]} if DIGEST in own else {}
    text = _joined({**digest, "nonfinite": own.get(NONFINITE, "0")})
    traced = _joined({"trace": attributes_of(request).get("trace", "")})
    whole = f"{text};{traced}" if traced and len(text) + len(traced) < MAX_LENGTH else text
    return replace(response, headers={**own, ATTRIBUTES: whole})


def attributes_of(request: Request) -> dict[str, str]:
    """The pairs of a request, values as they were sent; a key may stand alone."""
    parts = (part.strip().partition("=") for part in request.headers.get(ATTRIBUTES.lower(), "").split(";"))
    return {key: value for key, _, value in parts if key}


def _joined(pairs: dict[str, str]) -> str:
    return ";".join(f"{key}={value}" for key, value in pairs.items() if value)
