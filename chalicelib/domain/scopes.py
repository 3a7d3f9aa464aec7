"""What a key may do: legal scopes, and which of them cover a need."""

from collections.abc import Sequence

from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import is_legal

ADMIN = "admin"  # implies every other
DEPLOY = "deploy"
PREDICT = "predict:"


def parse_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes sorted, each once; raises Rejected for one that doesn't exist and for none at all."""
    if isinstance(scopes, str) or not all(isinstance(scope, str) for scope in scopes):
        raise Rejected('scopes: give a list of strings, such as ["predict:digits"]', code="bad_scope")
    if not scopes:
        raise Rejected("scopes: give at least one of predict:NAME, predict:*, deploy, admin", code="bad_scope")
    for scope in scopes:
        if not _is_scope(scope):
            raise Rejected(
                f"scopes: {scope!r} is no scope; use predict:NAME, predict:*, deploy or admin", code="bad_scope"
            )
    return tuple(sorted(set(scopes)))


def predict_scope(endpoint: str) -> str:
    """Return the scope that calling this endpoint needs."""
    return PREDICT + endpoint


def allows(scopes: Sequence[str], needed: str) -> bool:
    """Say whether a key with these scopes may do what `needed` names."""
    if ADMIN in scopes or needed in scopes:
        return True
    return needed.startswith(PREDICT) and PREDICT + "*" in scopes


def _is_scope(scope: str) -> bool:
    name = scope.removeprefix(PREDICT)
    return scope in (ADMIN, DEPLOY) or (scope.startswith(PREDICT) and (name == "*" or is_legal(name)))
