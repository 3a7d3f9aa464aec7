"""What a key may do: legal scopes, and which of them cover a need."""

from collections.abc import Sequence

from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import is_legal

ADMIN = "admin"  # implies every other
DEPLOY = "deploy"
PREDICT = "predict:"
DARK = "dark:"  # calling a version by its name, whether or not it has a share of the traffic
UPLOAD = "upload:"  # uploading versions of a model, and looking at what becomes of them
_NAMED = (PREDICT, DARK, UPLOAD)
_LEGAL = "predict:NAME, predict:*, dark:NAME, dark:*, upload:MODEL, upload:*, deploy or admin"


def parse_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes sorted, each once; raises Rejected for one that doesn't exist and for none at all."""
    if isinstance(scopes, str) or not all(isinstance(scope, str) for scope in scopes):
        raise Rejected('scopes: give a list of strings, such as ["predict:digits"]', code="bad_scope")
    if not scopes:
        raise Rejected(f"scopes: give at least one of {_LEGAL}", code="bad_scope")
    for scope in scopes:
        if not _is_scope(scope):
            raise Rejected(f"scopes: {scope!r} is no scope; use {_LEGAL}", code="bad_scope")
    return tuple(sorted(set(scopes)))


def predict_scope(endpoint: str) -> str:
    """Return the scope that calling this endpoint needs."""
    return PREDICT + endpoint


def dark_scope(endpoint: str) -> str:
    """Return the scope that calling a version of this endpoint by its name needs."""
    return DARK + endpoint


def upload_scope(model_id: str) -> str:
    """Return the scope that uploading a version of this model needs."""
    return UPLOAD + model_id


def uploads(scopes: Sequence[str]) -> bool:
    """Say whether a key with these scopes may upload anything, and so look."""
    return any(scope.startswith(UPLOAD) for scope in scopes)


def allows(scopes: Sequence[str], needed: str) -> bool:
    """Say whether a key with these scopes may do what `needed` names."""
    if ADMIN in scopes or needed in scopes:
        return True
    if needed.startswith(UPLOAD) and DEPLOY in scopes:
        return True
    return any(needed.startswith(kind) and kind + "*" in scopes for kind in _NAMED)


def _is_scope(scope: str) -> bool:
    if scope in {ADMIN, DEPLOY}:
        return True
    names = [scope.removeprefix(kind) for kind in _NAMED if scope.startswith(kind)]
    return any(name == "*" or is_legal(name) for name in names)
