"""What a predict request's body says: which contract it speaks, judged before any model sees it.

A body that isn't JSON costs its sender a 400 here, so it can't count against a canary.
"""

import re
from collections.abc import Mapping

from pydantic_core import from_json

from chalicelib.domain.errors import Rejected

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
EMPTY = 'the body is empty; send a JSON object such as {"instances": [[1, 2]]}'
NO_OBJECT = 'the body is no JSON object; send one such as {"instances": [[1, 2]]}'
NO_LIST = '"instances" is no list; send one entry for each prediction'
_PLACE = re.compile(r"(.*) at line (\d+) column (\d+)")


class BadBody(Rejected):
    """The body isn't what the route takes; `where` is its first bad field."""

    def __init__(self, message: str, where: str = "body") -> None:
        super().__init__(message, code="bad_request")
        self.where = where


def is_json(content_type: str) -> bool:
    """Say whether a body of this type is JSON; one without a type is taken for it."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("", JSON) or kind.endswith("+json")


def meant_type(content_type: str, body: bytes) -> str:
    """Return the type that is meant: `curl -d` calls everything a form, also a JSON object."""
    return JSON if content_type == FORM and body[:64].lstrip().startswith(b"{") else content_type


def speaks_instances(content_type: str, body: bytes) -> bool:
    """Say whether it is `{"instances": […]}`; else it is for the model's own contract. Raises BadBody."""
    if not is_json(content_type):
        return False
    if not body:
        raise BadBody(EMPTY)
    document = _parsed(body)
    if not isinstance(document, Mapping):
        raise BadBody(NO_OBJECT)
    if "instances" in document and not isinstance(document["instances"], list):
        raise BadBody(NO_LIST, "instances")
    return "instances" in document


def _parsed(body: bytes) -> object:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as problem:
        found = _PLACE.fullmatch(str(problem))
        what, place = (found[1], f" at line {found[2]}, column {found[3]}") if found else (str(problem), "")
        raise BadBody(f"the body is not JSON{place}: {what}") from None
