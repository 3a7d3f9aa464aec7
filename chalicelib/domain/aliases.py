"""Which deployment of an endpoint is meant by an alias or a version, whatever the split says.

`champion` and `previous` follow from what was promoted, so they move in the very write that promotes; people's own
aliases are kept in the endpoint's record.
"""

from collections.abc import Mapping
from dataclasses import replace

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.refs import NAME_RULE, is_legal

CHAMPION = "champion"  # what was promoted last
PREVIOUS = "previous"  # what was promoted before it, while it is kept warm
_OURS = frozenset({CHAMPION, PREVIOUS})
_MOST = 50  # of an endpoint: each may keep a deployment running


def aliases_of(endpoint: Endpoint) -> Mapping[str, str]:
    """Return every alias of an endpoint, the platform's own first, and the deployment that it names."""
    ours = {CHAMPION: endpoint.promoted, PREVIOUS: endpoint.previous}
    return {**{alias: id_ for alias, id_ in ours.items() if id_}, **endpoint.aliases}


def check_alias(alias: str) -> None:
    """Raise Rejected for a name that people can't give."""
    if alias in _OURS:
        raise Rejected(
            f"alias {alias} is kept by the platform: it moves with each promotion and rollback; choose another name",
            code="conflict",
        )
    if not is_legal(alias):
        raise Rejected(f"alias {alias[:80]!r} is not legal: {NAME_RULE}; rename it", code="illegal_name")


def pointed(endpoint: Endpoint, alias: str, deployment: str) -> Endpoint:
    """Return the endpoint with an alias of people's own naming a deployment."""
    if len(endpoint.aliases) >= _MOST and alias not in endpoint.aliases:
        raise Rejected(f"{endpoint.name} has {_MOST} aliases and may have no more; remove one", code="conflict")
    return replace(endpoint, aliases={**endpoint.aliases, alias: deployment})


def without_alias(endpoint: Endpoint, alias: str) -> Endpoint:
    """Return the endpoint without an alias; raises NotFound."""
    if alias not in endpoint.aliases:
        raise NotFound(f"endpoint {endpoint.name} has no alias {alias!r} of yours; {_known(endpoint)}")
    return replace(endpoint, aliases={name: id_ for name, id_ in endpoint.aliases.items() if name != alias})


def addressed(endpoint: Endpoint, *, alias: str, version: str) -> str:
    """Return the deployment that a caller asks for by name, "" when the split decides. Raises Rejected."""
    if alias and version:
        raise Rejected("send either an alias or a version, not both", code="bad_request")
    if version:
        return by_version(endpoint, version)
    return _by_alias(endpoint, alias) if alias else ""


def by_version(endpoint: Endpoint, said: str) -> str:
    """Return the deployment of `VERSION` or `MODEL/VERSION`: of several the one with the most of the traffic."""
    found = [i for i, d in endpoint.deployments.items() if said in {d.ref.version_id, str(d.ref)}]
    refs = sorted({str(endpoint.deployments[i].ref) for i in found})
    if len(refs) > 1:
        raise Rejected(f"{said!r} may be {' or '.join(refs)}: say which", code="bad_request")
    if not found:
        raise NotFound(f"endpoint {endpoint.name} runs no version {said[:127]!r}; it runs {_running(endpoint)}")
    # Of equals the newest: it was put in last.
    return max(reversed(found), key=lambda i: (endpoint.split.weights.get(i, 0), i == endpoint.promoted))


def _by_alias(endpoint: Endpoint, alias: str) -> str:
    found = aliases_of(endpoint).get(alias)
    if not found:
        raise NotFound(f"endpoint {endpoint.name} has no alias {alias[:63]!r}; {_known(endpoint)}")
    return found


def _known(endpoint: Endpoint) -> str:
    return f"there are {', '.join(aliases_of(endpoint)) or 'none'}"


def _running(endpoint: Endpoint) -> str:
    return ", ".join(sorted(str(deployment.ref) for deployment in endpoint.deployments.values())) or "none"
