"""API keys: made once and shown once, kept as a hash, revoked at once, and checked at every call."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from chalicelib.domain.errors import Conflict, NotFound, Rejected
from chalicelib.domain.scopes import allows, parse_scopes
from chalicelib.pipeline.ports import Clock, Registry
from chalicelib.pipeline.records import ApiKey, Records, Stored

MAX_NAME = 100  # characters
_BEARER = "Bearer "


class Denied(Rejected):
    """The caller may not: `unauthenticated` (no valid key) or `forbidden` (a valid key without the scope)."""


def make_key(registry: Registry, clock: Clock, *, name: str, scopes: Sequence[str]) -> tuple[ApiKey, str]:
    """Store a new key's hash; return the key and its secret, which nobody can read again."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise Rejected(f"name: give 1 to {MAX_NAME} printable characters that say who uses the key", code="bad_name")
    id_ = secrets.token_hex(6)
    secret = f"md_{id_}_{secrets.token_urlsafe(32)}"
    key = ApiKey(id=id_, name=name, scopes=parse_scopes(scopes), sha256=hash_of(secret), created=clock())
    registry.commit([Stored(id_, key).write])
    return key, secret


def revoke(registry: Registry, clock: Clock, id: str) -> ApiKey:  # noqa: A002
    """Mark a key as revoked; revoking it again changes nothing. Raises NotFound."""
    records = Records(registry)
    while True:
        stored = records.get(ApiKey, id)
        if stored is None:
            raise NotFound(f"key {id!r} does not exist; list the keys to see their ids")
        if stored.value.revoked:
            return stored.value
        revoked = replace(stored, value=replace(stored.value, revoked=clock()))
        try:
            registry.commit([revoked.write])
        except Conflict:
            continue
        return revoked.value


def list_keys(registry: Registry) -> Sequence[ApiKey]:
    """Return all keys, revoked ones too, the oldest first."""
    return sorted((stored.value for stored in Records(registry).list(ApiKey)), key=lambda key: key.created)


def authenticate(bearer: str, lookup: Callable[[str], ApiKey | None]) -> ApiKey:
    """Return the key that an Authorization header names; `lookup` finds keys by their hash. Raises Denied."""
    return admit(lookup(hash_of(secret_of(bearer))))


def secret_of(bearer: str) -> str:
    """Return the secret in an Authorization header. Raises Denied."""
    if not bearer[: len(_BEARER)].lower() == _BEARER.lower():
        raise Denied("send the header 'Authorization: Bearer md_…' with an API key", code="unauthenticated")
    return bearer[len(_BEARER) :].strip()


def admit(key: ApiKey | None) -> ApiKey:
    """Return a key that is there and wasn't revoked. Raises Denied."""
    if key is None:
        raise Denied("this API key does not exist; ask the operator for one", code="unauthenticated")
    if key.revoked:
        raise Denied(f"API key {key.id} was revoked; ask the operator for a new one", code="unauthenticated")
    return key


def require(key: ApiKey, scope: str) -> None:
    """Raise Denied unless the key's scopes cover this one."""
    if not allows(key.scopes, scope):
        raise Denied(f"API key {key.id} lacks the scope {scope!r}; it has {', '.join(key.scopes)}", code="forbidden")


def hash_of(secret: str) -> str:
    """Return what is stored of a secret: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
