"""Holds events to the documented schema: strictly by the code's types, and as a receiver would by the JSON Schema."""

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter

from chalicelib.domain.event_data import KINDS
from chalicelib.domain.transition import Transition
from chalicelib.pipeline.records import to_json

PAGE = Path(__file__).parents[1] / "docs" / "event-schema.json"


def check_event(transition: Transition) -> None:
    """Raise where an event isn't what its kind says: a field more, one less, another type, an unknown kind."""
    check_document(to_json(transition))


def check_document(document: dict) -> None:
    """Raise where an event's JSON isn't what its kind says."""
    assert document["kind"] in KINDS, f"{document['kind']} is told and isn't in domain.event_data.KINDS"
    _data(document["kind"]).validate_json(json.dumps(document["data"], allow_nan=False), strict=True)
    receivers_schema().validate(document)


@cache
def receivers_schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads(PAGE.read_text(encoding="utf-8")), format_checker=FormatChecker())


@cache
def _data(kind: str) -> TypeAdapter:
    return TypeAdapter(KINDS[kind])
