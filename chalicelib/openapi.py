"""The control API's OpenAPI document, built as data from the table of operations that the API registers.

A sibling of `api`, which imports it; it knows no verbs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

VERSION = "1.0.0"  # of the API: grows with its document
_SCOPES = {
    "": "Any valid key.",
    "read": "Needs the scope `deploy`, `upload:MODEL` or `admin`.",
    "upload": "Needs the scope `deploy`, or `upload:MODEL` of the model.",
    "deploy": "Needs the scope `deploy`.",
    "admin": "Needs the scope `admin`.",
    "predict": "Needs the scope `predict:NAME`, with `X-Modeldrop-Version` the scope `dark:NAME`.",
    "hook": "Needs no key: the call is signed with the hook's secret.",
}
_ERRORS = {
    "400": "The input is wrong; the message names the field.",
    "401": "No key, or one that is wrong or revoked.",
    "403": "The key lacks the scope.",
    "404": "No record has that name.",
    "409": "It isn't possible as things stand.",
}


@dataclass(frozen=True)
class Operation:
    """One method on one path; `answer` is a component's name.

    `scope` is "" (any key), "read", "upload", "deploy", "admin", "predict", or "hook" (no key).
    """

    method: str
    path: str
    id: str
    summary: str
    scope: str = "read"
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: str = ""
    status: int = 200
    description: str = ""
    any_body: bool = False  # whatever the model takes


class Problem(BaseModel):
    """What was wrong: `code` is stable, `message` a sentence, `where` the field if there is one."""

    code: str
    message: str
    where: str | None = None


class ErrorAnswer(BaseModel):
    error: Problem


def document(operations: Sequence[Operation], answers: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of those operations, with the schemas of their answers by name."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    bodies = {o.body.__name__: o.body for o in operations if o.body}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Modeldrop",
            "version": VERSION,
            "description": "Control and predict routes of a Modeldrop platform.",
        },
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, made by `keys make`."}
            },
            "schemas": _schemas({**bodies, **answers, "ErrorAnswer": ErrorAnswer}),
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": " ".join(filter(None, (operation.description, _SCOPES[operation.scope]))),
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": _responses(operation),
    }
    if operation.scope == "hook":
        described["security"] = []
    if operation.any_body:
        described["requestBody"] = {"required": True, "content": {"*/*": {}}}
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(operation.body.__name__)}
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    good = {str(operation.status): {"description": "Done.", "content": _json(operation.answer)}}
    bad = {status: {"description": text, "content": _json("ErrorAnswer")} for status, text in _ERRORS.items()}
    return {**good, **bad}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    properties = query.model_json_schema()["properties"] if query else {}
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _schemas(models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Return each model's JSON schema, nested definitions lifted to the components."""
    schemas: dict[str, Any] = {}
    for name, model in models.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[name] = schema
    return schemas
