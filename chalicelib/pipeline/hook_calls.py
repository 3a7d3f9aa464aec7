"""Answer a call of a hook: prove it, take it once, do what it asks for, and leave an audit line whatever comes of it.

That a call was taken is written in the same commit as what it changes. So a sender that tries again, or somebody who
recorded the call, can't have it done twice, and no crash leaves it taken but not done.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.domain.errors import Conflict, NotYet, Rejected
from chalicelib.domain.hook_audit import AuditLine, Outcome
from chalicelib.domain.hook_commands import Command, command_of
from chalicelib.domain.hook_signatures import Call, Refused, call_id
from chalicelib.domain.hooks import MEMORY, Action, Form, Hook
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.transition import Transition
from chalicelib.pipeline import manage
from chalicelib.pipeline.aliases import set_alias
from chalicelib.pipeline.ports import Doc, Ports, Registry, Write
from chalicelib.pipeline.records import Records, Stored, TakenCall

_ATTEMPTS = 3  # at a change that others' writes get in the way of
# Nobody's: a call of a hook that isn't there takes as long to refuse as one that is badly signed.
_NOBODY = "whsec_" + "A" * 43 + "="
_MOST_WHY = 300  # characters


@dataclass(frozen=True)
class Received:
    """What came of a call. `command` is None where nothing was asked for, `rollout` "" where none was moved."""

    outcome: Outcome
    call: str = ""
    command: Command | None = None
    rollout: str = ""
    refusal: Rejected | NotYet | None = None

    @property
    def why(self) -> str:
        return self.refusal.why if isinstance(self.refusal, Refused) else str(self.refusal or "")


class AlreadyTaken(Rejected):
    """A true call that came before: nothing is done again."""

    def __init__(self, before: TakenCall) -> None:
        super().__init__(
            f"this call was taken at {before.at:%Y-%m-%d %H:%M:%S} UTC ({before.what}), and nothing is done twice; "
            "to ask for it anew, send another id",
            code="already_taken",
        )


def receive(name: str, call: Call, ports: Ports) -> Received:
    """Do what a call asks for, or nothing; either way it is in the audit."""
    received = _persistently(name, call, ports)
    command = received.command
    ports.audit(
        AuditLine(
            ports.clock(),
            name,
            received.outcome,
            why=received.why[:_MOST_WHY],
            call=received.call,
            action=command.action if command else "",
            endpoint=command.endpoint if command else "",
            rollout=received.rollout,
            body_sha256=call.sha256,
        )
    )
    return received


def _persistently(name: str, call: Call, ports: Ports) -> Received:
    """Do it again when somebody else wrote meanwhile: each attempt reads anew."""
    for _ in range(_ATTEMPTS):
        try:
            return _received(name, call, ports)
        except Conflict:
            continue
    return Received(Outcome.REFUSED, refusal=NotYet("others change the same things just now; send it again"))


def _received(name: str, call: Call, ports: Ports) -> Received:
    hook = Records(ports.registry).get(Hook, name)
    try:
        id_ = _proven(hook.value if hook else None, call, ports.clock())
    except Refused as refused:
        return Received(Outcome.REFUSED, refusal=refused)
    assert hook  # noqa: S101 - nothing is proven of one that isn't there
    if before := Records(ports.registry).get(TakenCall, _key(name, id_)):
        return Received(Outcome.REPEATED, id_, refusal=AlreadyTaken(before.value))
    try:
        command = command_of(hook.value, call)
    except Rejected as rejected:
        return Received(Outcome.REFUSED, id_, refusal=rejected)
    return _obeyed(name, id_, command, ports) if command else Received(Outcome.IGNORED, id_)


def _proven(hook: Hook | None, call: Call, now: datetime) -> str:
    """Return the call's id; raises Refused."""
    if hook is None or hook.revoked:
        with suppress(Refused):
            call_id(Form.STANDARD, [_NOBODY], call, now)
        raise Refused("no such hook")
    return call_id(hook.form, [each.secret for each in hook.secrets], call, now)


def _obeyed(name: str, id_: str, command: Command, ports: Ports) -> Received:
    what = f"{command.action} of {command.endpoint}"
    taken = TakenCall(ports.clock(), what, ports.clock() + MEMORY)
    taking = _Taking(ports.registry, _write(name, id_, taken))
    try:
        rollout = _do(command, f"hook {name}", replace(ports, registry=taking))
        taking.finish()
    except NotYet as not_yet:
        return Received(Outcome.REFUSED, id_, command, refusal=not_yet)
    except Rejected as rejected:
        # Taken all the same: else a recorded call that is refused today would be worth something on another day.
        refused = replace(taken, what=f"{what}, refused: {rejected}")
        ports.registry.commit([_write(name, id_, refused)])
        return Received(Outcome.REFUSED, id_, command, refusal=rejected)
    return Received(Outcome.ACCEPTED, id_, command, rollout)


def _do(command: Command, by: str, ports: Ports) -> str:
    """Do what is asked for and return the rollout that it is about."""
    match command.action:
        case Action.START_ROLLOUT:
            return str(manage.start(command.endpoint, _ref(command), ports)["id"])
        case Action.APPROVE:
            return str(manage.approve(command.endpoint, ports, by=by)["id"])
        case Action.PROMOTE:
            return str(manage.promote(command.endpoint, ports, by=by)["id"])
        case Action.ABORT:
            return str(manage.abort(command.endpoint, ports, by=by)["id"])
        case Action.SET_ALIAS:
            set_alias(command.endpoint, command.alias, _ref(command), ports)
    return ""


def _ref(command: Command) -> VersionRef:
    assert command.ref  # noqa: S101 - what can't be asked for without a version came with one
    return command.ref


def _key(hook: str, id_: str) -> str:
    """Return what a call is remembered under: ids are the sender's, and may hold anything."""
    return f"{hook}/{hashlib.sha256(id_.encode()).hexdigest()}"


def _write(hook: str, id_: str, taken: TakenCall) -> Write:
    return replace(Stored(_key(hook, id_), taken).write, expires=taken.until)


@dataclass
class _Taking:
    """A registry whose first commit takes the call, too: both are done or neither."""

    registry: Registry
    write: Write | None

    def get(self, kind: str, id: str) -> Doc | None:  # noqa: A002
        return self.registry.get(kind, id)

    def list(self, kind: str, prefix: str = "") -> Sequence[Doc]:
        return self.registry.list(kind, prefix)

    def commit(self, writes: Sequence[Write], transitions: Sequence[Transition] = ()) -> None:
        self.registry.commit([*writes, *([self.write] if self.write else [])], transitions)
        self.write = None

    def finish(self) -> None:
        """Take the call if nothing was to be changed."""
        if self.write:
            self.commit([])

    def timeline(self, *, subject: str = "", rollout: str = "", limit: int = 200) -> Sequence[Transition]:
        return self.registry.timeline(subject=subject, rollout=rollout, limit=limit)

    def unsent(self, limit: int = 100) -> Sequence[Transition]:
        return self.registry.unsent(limit)

    def mark_sent(self, ids: Sequence[str]) -> None:
        self.registry.mark_sent(ids)
