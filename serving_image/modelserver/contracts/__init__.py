"""One module per contract; each says its routes. A predict route is how a request becomes rows and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from modelserver.codec import Encoded
from modelserver.formats import Model
from modelserver.messages import JSON, Request
from modelserver.rows import Prediction, Rows


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded prediction, before the headers that every answer carries."""

    encoded: Encoded
    content_type: str = JSON


Encode: TypeAlias = Callable[[Prediction], Answer]


@dataclass(frozen=True, slots=True)
class Call:
    rows: Rows
    encode: Encode


Parse: TypeAlias = Callable[[Model, Request], Call]


@dataclass(frozen=True, slots=True)
class PredictRoute:
    path: str
    parse: Parse
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class HealthRoute:
    path: str
    method: str = "GET"


Route: TypeAlias = PredictRoute | HealthRoute
