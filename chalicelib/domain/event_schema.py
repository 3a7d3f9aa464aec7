"""The JSON Schema of events, made from what the code tells: docs/event-schema.json is its copy for receivers.

It takes what later versions add (kinds, fields), for a receiver that was written today must not refuse them.
"""

from typing import Any

from pydantic import TypeAdapter

from chalicelib.domain.event_data import KINDS
from chalicelib.domain.transition import SCHEMA_VERSION

_FIELDS: dict[str, dict[str, Any]] = {
    "schema_version": {
        "type": "string",
        "pattern": rf"^{SCHEMA_VERSION.partition('.')[0]}\.[0-9]+$",
        "description": "of this schema: within a major version kinds and fields are only added",
    },
    "id": {"type": "string", "minLength": 1, "description": "the same on every repeat"},
    "kind": {"type": "string", "pattern": r"^[a-z]+\.[a-z_]+$"},
    "subject": {"type": "string", "description": "MODEL/VERSION, or what the kind says"},
    "at": {"type": "string", "format": "date-time"},
    "message": {"type": "string", "description": "for people; its words may change"},
    "rollout": {"type": "string", "description": "the rollout's id, or empty"},
    "data": {"type": "object", "description": "by kind"},
}


def event_schema() -> dict[str, Any]:
    """Return the schema of every event; a kind that it doesn't know may have any data."""
    definitions: dict[str, Any] = {}
    for model in dict.fromkeys(KINDS.values()):
        definitions |= _definitions(model)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Events of Modeldrop, schema version {SCHEMA_VERSION}",
        "type": "object",
        "required": list(_FIELDS),
        "properties": _FIELDS,
        "allOf": [_of_kind(kind, model) for kind, model in KINDS.items()],
        "$defs": definitions,
    }


def _of_kind(kind: str, model: Any) -> dict[str, Any]:
    """Return what the data of a kind is; where a bus had to cut it, what is left says so."""
    whole, cut = {"$ref": f"#/$defs/{model.__name__}"}, {"required": ["cut"]}
    return {
        "if": {"properties": {"kind": {"const": kind}}},
        "then": {"properties": {"data": {"anyOf": [whole, cut]}}},
    }


def _definitions(model: Any) -> dict[str, Any]:
    schema = TypeAdapter(model).json_schema(ref_template="#/$defs/{model}")
    return {name: _open(each) for name, each in {**schema.pop("$defs", {}), model.__name__: schema}.items()}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a definition that lets fields be added, without the titles that only repeat names."""
    kept = {name: value for name, value in schema.items() if name not in {"additionalProperties", "title"}}
    fields = schema.get("properties", {})
    without_titles = {name: {k: v for k, v in field.items() if k != "title"} for name, field in fields.items()}
    return {**kept, "properties": without_titles} if fields else kept
