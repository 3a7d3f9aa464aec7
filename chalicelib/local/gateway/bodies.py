"""What a predict request says: which contract its body speaks, judged before any replica sees it.

A body that isn't JSON costs its sender a 400 here, so it can't count against a canary. simdjson checks 100 kB in tens
of microseconds without making Python objects; orjson is asked only when that fails, for the place of the mistake.
"""

from dataclasses import replace
from functools import lru_cache

import orjson
import simdjson

from chalicelib.domain.predict_body import EMPTY, FORM, NO_LIST, NO_OBJECT, BadBody, is_json
from chalicelib.local.gateway.messages import JSON, Request

INSTANCES = b"/predict"  # {"instances": …} → {"predictions": …}
NATIVE = b"/invocations"  # the model's own contract

_FORM = FORM.encode()
_OBJECT = (dict, simdjson.Object)
_LIST = (list, simdjson.Array)
_parser = simdjson.Parser()  # of the gateway's one loop; parsers can't be shared by threads


def as_meant(request: Request) -> Request:
    """Return a request whose form is a JSON object as JSON: `curl -d` calls everything a form."""
    if request.fields.get(b"content-type") != _FORM or not request.body[:64].lstrip().startswith(b"{"):
        return request
    return replace(request, headers=[*(h for h in request.headers if h[0] != JSON[0]), JSON])


def route_of(request: Request) -> bytes:
    """Return the replica's route for a predict request; raises BadBody for malformed JSON."""
    if not _is_json(request.fields.get(b"content-type", b"")):
        return NATIVE
    if not request.body:
        raise BadBody(EMPTY)
    try:
        return _route(_parser.parse(request.body))
    except (ValueError, RuntimeError):
        # simdjson refuses integers beyond 64 bits and bytes behind the value alike; orjson decides and says where.
        return _route(_parse_slowly(request.body))


def _parse_slowly(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        place = f"line {problem.lineno}, column {problem.colno}"
        raise BadBody(f"the body is not JSON at {place}: {problem.msg.partition(': line')[0]}") from None


def _route(document: object) -> bytes:
    if not isinstance(document, _OBJECT):
        raise BadBody(NO_OBJECT)
    try:
        instances = document["instances"]
    except KeyError:
        return NATIVE
    if not isinstance(instances, _LIST):
        raise BadBody(NO_LIST, "instances")
    return INSTANCES


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    return is_json(content_type.decode("latin-1"))
