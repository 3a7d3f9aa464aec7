"""How a route of the API answers: scope, input, one verb, JSON; and how every error is said.

A sibling of `api`, which lists the routes. Who calls is known before: an authorizer put the key's id and scopes into
the request's context.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chalice.app import Blueprint, Chalice, Request, Response
from pydantic import BaseModel, Field, ValidationError

from chalicelib.domain.errors import Conflict, NotYet, Rejected
from chalicelib.domain.scopes import allows, uploads
from chalicelib.openapi import Operation

Json = Any
View = Callable[..., Json]
Model = TypeVar("Model", bound=BaseModel)

_ATTEMPTS = 3  # at a change that others' writes get in the way of
_STATUSES = {"not_found": 404, "conflict": 409, "forbidden": 403}
_GRANTED_BY = {"read": ("deploy", "admin"), "upload": ("deploy",), "deploy": ("deploy",), "admin": ("admin",)}
_OF_UPLOADERS = ("read", "upload")  # what a key for any model's uploads may call; the view asks for the model's own


class Forbidden(Rejected):
    def __init__(self, scopes: Sequence[str]) -> None:
        needed = " or ".join(f"'{scope}'" for scope in scopes)
        super().__init__(f"this key lacks the scope {needed}; use one that has it", code="forbidden")


class _BadInput(Rejected):
    """A body or query that isn't what the route takes; `where` is the first bad field."""

    def __init__(self, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        self.where = ".".join(str(part) for part in first["loc"]) or "body"
        super().__init__(f"{self.where}: {first['msg']}", code="bad_request")


class Page(BaseModel):
    """A part of a list: at most `limit` entries, beginning behind the one whose id is `after`."""

    limit: int = Field(default=100, ge=1, le=1000)
    after: str = ""


# --- the table of routes -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Route:
    operation: Operation
    view: View


class Routes(Blueprint):
    """A Blueprint that may be registered on several apps: Chalice's own uses up its routes at the first."""

    def __init__(self, import_name: str) -> None:
        super().__init__(import_name)
        self.table: list[Route] = []
        self.register_middleware(_in_our_form, "http")

    def add(self, method: str, path: str, summary: str, **more: Any) -> Callable[[View], View]:
        """Return a decorator that puts a view into the table; `more` are fields of Operation."""

        def put(view: View) -> View:
            operation = Operation(method, path, view.__name__, summary, **more)
            self.table.append(Route(operation, self._answering(operation, view)))
            return view

        return put

    def add_plain(self, method: str, path: str, summary: str, **more: Any) -> Callable[[View], View]:
        """Return a decorator that puts a view into the table as it is: it checks scopes and says errors by itself."""

        def put(view: View) -> View:
            self.table.append(Route(Operation(method, path, view.__name__, summary, **more), view))
            return view

        return put

    def register(self, app: Chalice, options: dict[str, Any]) -> None:
        super().register(app, options)
        for route in self.table:
            types = ["*/*"] if route.operation.any_body else ["application/json"]
            app.route(route.operation.path, methods=[route.operation.method], content_types=types)(route.view)

    def _answering(self, operation: Operation, view: View) -> View:
        """Wrap a view: who may call it, what it takes, how its errors are said."""

        @functools.wraps(view)
        def answer(**path: str) -> Response:
            request = self.current_request
            try:
                _check_scope(request, operation.scope)
                call = functools.partial(view, **path, **_input(operation, request))
                return Response(_finite(_persistently(call)), status_code=operation.status)
            except (Rejected, Conflict, NotYet) as error:
                return _problem(error)

        return answer


def scopes_of(request: Request) -> list[str]:
    """Return the caller's scopes, as the authorizer said them."""
    return str(request.context["authorizer"]["scopes"]).split()


def _input(operation: Operation, request: Request) -> dict[str, BaseModel]:
    body = {"body": _parsed_body(operation.body, request)} if operation.body else {}
    return body | ({"query": _parsed_query(operation.query, request)} if operation.query else {})


def require(request: Request, scope: str) -> None:
    """Raise Forbidden unless the caller's scopes cover this one."""
    if not allows(scopes_of(request), scope):
        raise Forbidden((scope,))


def _check_scope(request: Request, needed: str) -> None:
    held = scopes_of(request)
    if not needed or (needed in _OF_UPLOADERS and uploads(held)):
        return
    if not any(allows(held, scope) for scope in _GRANTED_BY[needed]):
        raise Forbidden(_GRANTED_BY[needed])


def _parsed_body(model: type[Model], request: Request) -> Model:
    try:
        return model.model_validate_json(request.raw_body)
    except ValidationError as error:
        raise _BadInput(error) from error


def _parsed_query(model: type[Model], request: Request) -> Model:
    try:
        return model.model_validate(dict(request.query_params or {}))
    except ValidationError as error:
        raise _BadInput(error) from error


def _persistently(call: Callable[[], Json]) -> Json:
    """Do it again when somebody else wrote meanwhile: the verb reads anew each time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return call()
        except Conflict:
            continue
    return call()


def _finite(value: Json) -> Json:
    """Return it with null for what JSON has no number for, such as a quantile beyond the last bucket."""
    match value:
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _problem(error: Rejected | Conflict | NotYet) -> Response:
    match error:
        case _BadInput():
            return error_response(400, error.code, str(error), error.where)
        case Rejected():
            return error_response(_STATUSES.get(error.code, 400), error.code, str(error))
        case NotYet():
            return error_response(409, "not_yet", str(error))
        case _:
            return error_response(
                409, "conflict", f"others changed it {_ATTEMPTS} times meanwhile ({error}); try again"
            )


def error_response(status: int, code: str, message: str, where: str = "") -> Response:
    """Return an error in the one form that all have."""
    problem = {"code": code, "message": message} | ({"where": where} if where else {})
    return Response({"error": problem}, status_code=status)


def _in_our_form(event: Request, get_response: Callable[[Request], Response]) -> Response:
    """Give the framework's own errors (no such method, media type, a bug) the same form as ours."""
    response = get_response(event)
    match response.body:
        case {"Code": str(code), "Message": str(message)}:
            response.body = {"error": {"code": _snake(code), "message": message}}
    return response


def _snake(name: str) -> str:
    """Turn `UnsupportedMediaType` into `unsupported_media_type`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


def page(of: str, items: Sequence[Mapping[str, Json]], by: str, query: Page) -> Json:
    """Return the part of a list that was asked for; `next` is the `after` of the part behind it, null at the end."""
    ids = [str(item[by]) for item in items]
    if query.after and query.after not in ids:
        raise Rejected(f"after: no entry has the {by} {query.after!r}; begin without it", code="bad_request")
    begin = ids.index(query.after) + 1 if query.after else 0
    part = list(items)[begin : begin + query.limit]
    more = begin + query.limit < len(ids)
    return {of: part, "next": str(part[-1][by]) if more else None}
