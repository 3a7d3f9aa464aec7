"""The routes by which people say themselves who answers: an endpoint's own split, and its aliases.

`api` puts them among its own.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline import aliases, dividing
from chalicelib.pipeline.ports import Ports
from chalicelib.routing import Json, Routes


class SetAlias(BaseModel):
    """Which version, running for the endpoint, the alias names."""

    model_config = ConfigDict(extra="forbid")
    model_id: str = Field(min_length=1)
    version_id: str = Field(min_length=1)


class SetSplit(BaseModel):
    """Whole percents by `MODEL/VERSION`, summing to 100."""

    model_config = ConfigDict(extra="forbid")
    weights: dict[str, Annotated[int, Field(strict=True, ge=1)]] = Field(min_length=2, max_length=10)


class EndSplit(BaseModel):
    """Which version, `MODEL/VERSION`, is promoted and has all traffic from then on."""

    model_config = ConfigDict(extra="forbid")
    to: str = Field(min_length=1)


def add(routes: Routes, ports: Callable[[], Ports]) -> None:
    """Put them among other routes."""
    _add_split(routes, ports)
    _add_aliases(routes, ports)


def _add_split(routes: Routes, ports: Callable[[], Ports]) -> None:
    @routes.add(
        "PUT",
        "/v1/endpoints/{name}/split",
        "Divide the traffic between versions by hand, once all of them are ready.",
        scope="deploy",
        body=SetSplit,
        answer="Endpoint",
        status=202,
    )
    def set_split(name: str, body: SetSplit) -> Json:
        return dividing.ask_split(name, body.weights, ports())

    @routes.add(
        "DELETE",
        "/v1/endpoints/{name}/split",
        "End a manual split: one of its versions is promoted and has all traffic.",
        scope="deploy",
        query=EndSplit,
        answer="Endpoint",
        status=202,
    )
    def end_split(name: str, query: EndSplit) -> Json:
        return dividing.end_split(name, VersionRef.parse(query.to), ports())


def _add_aliases(routes: Routes, ports: Callable[[], Ports]) -> None:
    @routes.add(
        "PUT",
        "/v1/endpoints/{name}/aliases/{alias}",
        "Let an alias name a version that runs for the endpoint.",
        scope="deploy",
        body=SetAlias,
        answer="Endpoint",
    )
    def set_alias(name: str, alias: str, body: SetAlias) -> Json:
        return aliases.set_alias(name, alias, VersionRef(body.model_id, body.version_id), ports())

    @routes.add("DELETE", "/v1/endpoints/{name}/aliases/{alias}", "Remove an alias.", scope="deploy", answer="Endpoint")
    def remove_alias(name: str, alias: str) -> Json:
        return aliases.remove_alias(name, alias, ports())
