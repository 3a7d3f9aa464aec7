"""Make, look at and end hooks. A hook's secret is shown once; it is kept, for HMAC can't be computed from a hash."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.hook_events import events_of
from chalicelib.domain.hooks import MOST_SECRETS, Action, Form, Hook, HookSecret, Rule, check, key_of, secret_of
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Records, Stored, TakenCall

_KEY_BYTES = 32
_AT_ONCE = 50  # records that one commit deletes


def make_hook(
    name: str,
    ports: Ports,
    *,
    form: Form,
    actions: Sequence[Action],
    endpoints: Sequence[str],
    rules: Sequence[Rule] = (),
    secret: str = "",
    replayable: bool = False,
) -> tuple[Hook, str]:
    """Store a hook and return it with its secret; a name is free again once its hook was revoked. Raises Rejected."""
    if form is Form.GITLAB_TOKEN and not replayable:
        raise Rejected(
            "form: gitlab_token signs nothing: who reads one call can send others for ever; use gitlab with a signing "
            "token, or say replayable if you accept that",
            code="bad_hook",
        )
    stored = Records(ports.registry).get(Hook, name)
    if stored and not stored.value.revoked:
        raise Rejected(f"there is a hook {name!r}; revoke it first, or rotate its secret", code="conflict")
    made = _secret(form, ports, secret)
    hook = check(
        Hook(
            name,
            form,
            actions=tuple(dict.fromkeys(actions)),
            endpoints=tuple(dict.fromkeys(endpoints)),
            secrets=(made,),
            created=ports.clock(),
            rules=tuple(rules),
        ),
        events_of(form),
    )
    ports.registry.commit([Stored(name, hook, stored.revision if stored else 0).write])
    return hook, made.secret


def rotate(name: str, ports: Ports, secret: str = "") -> tuple[Hook, str]:
    """Add a second secret, valid beside the first until that is dropped; raises NotFound or Rejected."""
    stored = _hook(name, ports)
    if len(stored.value.secrets) >= MOST_SECRETS:
        ids = " and ".join(each.id for each in stored.value.secrets)
        raise Rejected(f"hook {name} has two secrets ({ids}); drop one first", code="conflict")
    made = _secret(stored.value.form, ports, secret)
    changed = stored.to(secrets=(*stored.value.secrets, made))
    ports.registry.commit([changed.write])
    return changed.value, made.secret


def drop_secret(name: str, secret_id: str, ports: Ports) -> Hook:
    """Let a secret be worth nothing from now on; the last one goes with its hook. Raises NotFound or Rejected."""
    stored = _hook(name, ports)
    left = tuple(each for each in stored.value.secrets if each.id != secret_id)
    if len(left) == len(stored.value.secrets):
        raise NotFound(f"hook {name} has no secret {secret_id!r}; list the hooks to see their secrets' ids")
    if not left:
        raise Rejected(f"{secret_id} is the only secret of hook {name}; rotate first, or revoke it", code="conflict")
    changed = stored.to(secrets=left)
    ports.registry.commit([changed.write])
    return changed.value


def revoke_hook(name: str, ports: Ports) -> Hook:
    """End a hook and forget its secrets; ending it again changes nothing. Raises NotFound."""
    stored = Records(ports.registry).get(Hook, name)
    if stored is None:
        raise NotFound(_NONE.format(name))
    if stored.value.revoked:
        return stored.value
    changed = stored.to(revoked=ports.clock(), secrets=())
    ports.registry.commit([changed.write])
    return changed.value


def list_hooks(ports: Ports) -> Sequence[Hook]:
    return [stored.value for stored in Records(ports.registry).list(Hook)]


def forget_calls(ports: Ports) -> None:
    """Delete the memory of calls that is over: for registries that do not by themselves."""
    stored = Records(ports.registry).list(TakenCall)
    over = [replace(each.write, body=None) for each in stored if each.value.until < ports.clock()]
    for start in range(0, len(over), _AT_ONCE):
        ports.registry.commit(over[start : start + _AT_ONCE])


_NONE = "there is no hook {!r}; list the hooks to see those there are"


def _hook(name: str, ports: Ports) -> Stored[Hook]:
    stored = Records(ports.registry).get(Hook, name)
    if stored is None or stored.value.revoked:
        raise NotFound(_NONE.format(name))
    return stored


def _secret(form: Form, ports: Ports, given: str) -> HookSecret:
    secret = given or secret_of(form, secrets.token_bytes(_KEY_BYTES))
    key_of(form, secret)
    return HookSecret(secrets.token_hex(4), secret, ports.clock())
