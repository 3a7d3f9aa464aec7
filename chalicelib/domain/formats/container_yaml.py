"""`container.yaml`: which image serves a version, and by which of the clouds' contracts.

image: ghcr.io/example/server@sha256:…
contract: vertex            # vertex | sagemaker | oci: what the routes, the port and the environment default to
port: 8080
health_route: /health
predict_route: /predict
command: [/server]          # instead of the image's entrypoint
args: ["--http-port=$(AIP_HTTP_PORT)"]
environment: {LOG_LEVEL: info}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Finding
from chalicelib.domain.strict_yaml import parse
from chalicelib.domain.wishes import Environment
from chalicelib.domain.yaml_limits import BadYaml

FILE = "container.yaml"
_FIX = "write image: REGISTRY/NAME@sha256:DIGEST and contract: vertex, sagemaker or oci; all else has a default"
# As the distribution specification has it: domain, path, tag, digest.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
_LONGEST_IMAGE = 512
_ROUTE = re.compile(r"/[A-Za-z0-9._~/:@!$&'()*+,;=%-]{0,255}")
_MOST_WORDS, _LONGEST_WORD = 200, 4096
_SHOWN = 80


class Contract(StrEnum):
    """Whose rules a container was written for."""

    VERTEX = "vertex"
    SAGEMAKER = "sagemaker"
    OCI = "oci"


@dataclass(frozen=True)
class Terms:
    """What a contract says where container.yaml doesn't."""

    health_route: str
    predict_route: str
    model: str  # where the version's files are
    args: tuple[str, ...] = ()
    port_name: str = ""  # the variable that says the port; "": the port is fixed


TERMS: Mapping[Contract, Terms] = {
    Contract.VERTEX: Terms("/health", "/predict", "/opt/ml/model", port_name="AIP_HTTP_PORT"),
    Contract.SAGEMAKER: Terms("/ping", "/invocations", "/opt/ml/model", ("serve",), "SAGEMAKER_BIND_TO_PORT"),
    Contract.OCI: Terms("/health", "/predict", "/opt/ds/model/deployed_model"),
}


@dataclass(frozen=True)
class Container:
    """An image and how to talk to it."""

    image: str
    contract: Contract
    port: int
    health_route: str
    predict_route: str
    command: tuple[str, ...] = ()  # none: the image's entrypoint
    args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def terms(self) -> Terms:
        return TERMS[self.contract]

    @property
    def is_pinned(self) -> bool:
        """Whether the name can mean one image only."""
        return "@sha256:" in self.image


def _image(name: object) -> object:
    if not (isinstance(name, str) and len(name) <= _LONGEST_IMAGE and _IMAGE.fullmatch(name)):
        raise ValueError("must be an image's name, such as ghcr.io/example/server@sha256:DIGEST or example/server:1.2")
    return name


def _route(route: object) -> object:
    if not (isinstance(route, str) and _ROUTE.fullmatch(route)):
        raise ValueError("must be a path that begins with /, such as /predict")
    return route


def _words(words: object) -> object:
    """Refuse one string: which shell would split it is nobody's to guess."""
    if not isinstance(words, list) or len(words) > _MOST_WORDS:
        raise ValueError(f"must be a list of at most {_MOST_WORDS} texts, such as [/server, --verbose]")
    if not all(isinstance(w, str) and len(w) <= _LONGEST_WORD and "\0" not in w for w in words):
        raise ValueError(f"must hold texts of at most {_LONGEST_WORD} characters: write numbers in quotes")
    return tuple(words)


Route = Annotated[str, BeforeValidator(_route)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class _Written(BaseModel):
    """What a container.yaml may say."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    image: Annotated[str, BeforeValidator(_image)]
    contract: Annotated[Contract, Field(strict=False)]
    # A container has no right to bind lower ones.
    port: Annotated[int, Field(ge=1024, le=65535)] = 8080
    health_route: Route | None = None
    predict_route: Route | None = None
    command: Words = ()
    args: Words | None = None
    environment: Environment = Field(default_factory=dict)


def read_container(text: bytes) -> Container:
    """Return what a container.yaml says; raises BadContainer with a finding for each wrong field."""
    try:
        document = parse(text)
    except BadYaml as error:
        raise BadContainer((_wrong(FILE, f"it is no safe YAML document: {error}"),)) from error
    if not isinstance(document, dict):
        raise BadContainer((_wrong(FILE, f"it must be a mapping, not {_shown(document)}"),))
    try:
        written = _Written.model_validate({str(name): value for name, value in document.items()})
    except ValidationError as error:
        found = tuple(_in_words(each) for each in error.errors(include_url=False))
        raise BadContainer(found) from error
    return _with_defaults(written)


class BadContainer(Rejected):
    """A container.yaml that can't be followed; `findings` says where it is wrong."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(f"{f.where}: {f.message}" for f in findings), code="bad_container")
        self.findings = findings


def _with_defaults(written: _Written) -> Container:
    terms = TERMS[written.contract]
    # As docker has it: who says another command doesn't want the arguments of the image's own.
    args = written.args if written.args is not None else (() if written.command else terms.args)
    return Container(
        image=written.image,
        contract=written.contract,
        port=written.port,
        health_route=written.health_route or terms.health_route,
        predict_route=written.predict_route or terms.predict_route,
        command=written.command,
        args=args,
        environment=dict(written.environment),
    )


def _in_words(error: ErrorDetails) -> Finding:
    name = ".".join(str(part) for part in error["loc"])[:_SHOWN]
    if error["type"] == "extra_forbidden":
        return _wrong(f"{FILE}: {name}", f"it is unknown; allowed are {', '.join(_Written.model_fields)}")
    if error["type"] == "missing":
        return _wrong(f"{FILE}: {name}", "it is missing")
    said = error["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    given = "" if isinstance(error["input"], Mapping) else f", not {_shown(error['input'])}"
    return _wrong(f"{FILE}: {name}", f"{said}{given}")


def _wrong(where: str, message: str) -> Finding:
    return Finding("bad_container", where, message, _FIX)


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN]
