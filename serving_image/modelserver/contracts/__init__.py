"""One module per contract; each says its routes. A predict route is how a request becomes rows and back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from modelserver.codec import Encoded
from modelserver.formats import Model
from modelserver.messages import JSON, Request, Response
from modelserver.rows import Prediction, Rows


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded prediction, before the headers that every answer carries."""

    encoded: Encoded
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Encode: TypeAlias = Callable[[Prediction], Answer]


@dataclass(frozen=True, slots=True)
class Call:
    rows: Rows
    encode: Encode


Parse: TypeAlias = Callable[[Model, Request], Call]


Finish: TypeAlias = Callable[[Request, Response], Response]


def _never(_: Request) -> bool:
    return False


def _as_it_is(_: Request, response: Response) -> Response:
    return response


@dataclass(frozen=True, slots=True)
class PredictRoute:
    """`is_probe` says which requests only ask who is there; `finish` is the contract's last word on every answer."""

    path: str
    parse: Parse
    methods: tuple[str, ...] = ("POST",)
    is_probe: Callable[[Request], bool] = _never
    finish: Finish = _as_it_is


@dataclass(frozen=True, slots=True)
class HealthRoute:
    path: str
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Standing:
    """How the server stands, and the model once it is loaded."""

    state: str
    model: Model | None = None
    digest: str = ""

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """Says something about the server or its model."""

    path: str
    answer: Callable[[Standing], Response]
    method: str = "GET"


Route: TypeAlias = PredictRoute | HealthRoute | ControlRoute
