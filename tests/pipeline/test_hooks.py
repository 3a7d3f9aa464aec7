"""Hooks: what a proven call does, that it does it once, and that every other call does nothing but an audit line."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.errors import Conflict, NotFound, Rejected
from chalicelib.domain.hooks import MEMORY, Action, Form, Hook, Rule, VersionFrom
from chalicelib.pipeline.hook_calls import receive
from chalicelib.pipeline.hooks import drop_secret, forget_calls, list_hooks, make_hook, revoke_hook, rotate
from chalicelib.pipeline.records import Records, Stored, TakenCall, to_json
from tests.api_caller import registered, stepping
from tests.fakes_pipeline import fake_ports
from tests.fakes_registry import FakeRegistry
from tests.hook_calls import GITHUB_SECRET, SECRET, Audit, asks, github, standard

EVERY = tuple(Action)


@pytest.fixture
def ports():
    """Return a platform with a rollout under way and two hooks for it."""
    made = fake_ports(audit=Audit())
    stepping(made, "digits/1")
    make_hook("ci", made, form=Form.STANDARD, actions=EVERY, endpoints=["digits"], secret=SECRET)
    make_hook("gh", made, form=Form.GITHUB, actions=EVERY, endpoints=["digits"], secret=GITHUB_SECRET)
    return made


def signed(ports, body, id_="msg_1"):
    return standard(body, ports.clock(), id_)


def world(ports):
    """Return all that is in the registry, but for which calls were taken."""
    kinds = ("endpoint", "rollout", "version", "hook", "key")
    return [ports.registry.list(kind) for kind in kinds], ports.registry.timeline(), ports.timers.due


def promotions(ports):
    return [t for t in ports.registry.timeline() if t.kind == "rollout.promote_asked"]


def test_a_proven_call_does_what_it_asks_for_and_says_who_asked(ports):
    received = receive("ci", signed(ports, asks("promote")), ports)
    assert (received.outcome, received.refusal) == ("accepted", None)
    assert [t.message for t in promotions(ports)] == ["promotion asked for by hook ci"]
    assert received.rollout == ports.audit.lines[-1].rollout == promotions(ports)[0].rollout


def test_a_call_starts_the_rollout_of_the_version_that_it_names(ports):
    registered(ports, "digits/2")
    received = receive("ci", signed(ports, asks("start_rollout", model_id="digits", version_id="2")), ports)
    stored = Records(ports.registry).endpoint("digits").value
    assert (received.outcome, stored.rollout) == ("accepted", received.rollout)


def test_an_event_of_github_does_what_its_rule_says(ports):
    registered(ports, "digits/v2")
    rule = Rule("release", Action.START_ROLLOUT, "digits", "digits", VersionFrom.TAG)
    make_hook("rel", ports, form=Form.GITHUB, actions=EVERY, endpoints=["digits"], rules=[rule], secret=GITHUB_SECRET)
    published = b'{"action": "published", "release": {"tag_name": "v2"}}'
    assert receive("rel", github(published, "release"), ports).outcome == "accepted"
    assert receive("rel", github(b'{"zen": "x"}', "ping"), ports).outcome == "ignored"


def forged(ports):
    call = signed(ports, asks("promote"))
    yield "no such hook", "nobody", call
    yield "bad signature", "ci", replace(call, body=call.body.replace(b"promote", b"abort"))
    yield "bad signature", "ci", replace(call, headers={**call.headers, "webhook-id": "msg_2"})
    yield "no signature", "ci", replace(call, headers={})
    yield "stale", "ci", standard(asks("promote"), ports.clock() - timedelta(seconds=301))
    yield "stale", "ci", standard(asks("promote"), ports.clock() + timedelta(seconds=301))
    yield "no signature", "gh", call
    yield "bad signature", "gh", github(asks("promote"), secret="another-secret-of-16")


def test_a_call_that_is_forged_changed_or_stale_does_nothing_but_an_audit_line(ports):
    before = world(ports)
    for why, name, call in forged(ports):
        received = receive(name, call, ports)
        assert (received.outcome, received.refusal.code) == ("refused", "refused")
        assert (ports.audit.lines[-1].why, ports.audit.lines[-1].hook) == (why, name)
    assert world(ports) == before
    assert Records(ports.registry).list(TakenCall) == []
    assert ports.audit.outcomes == ["refused"] * 8


def test_who_proves_nothing_gets_one_answer_whatever_the_reason_but_being_late(ports):
    answers = {str(receive(name, call, ports).refusal) for why, name, call in forged(ports) if why != "stale"}
    assert len(answers) == 1


@pytest.mark.parametrize("hook", ["ci", "gh"])
def test_a_call_that_comes_again_does_nothing_but_an_audit_line(ports, hook):
    call = {"ci": signed(ports, asks("promote")), "gh": github(asks("promote"))}[hook]
    receive(hook, call, ports)
    before = world(ports)
    again = receive(hook, call, ports)
    assert (again.outcome, again.refusal.code) == ("repeated", "already_taken")
    assert "(promote of digits)" in str(again.refusal)
    assert world(ports) == before
    assert ports.audit.outcomes == ["accepted", "repeated"]


def test_an_id_is_taken_once_also_with_a_fresh_time_and_another_body(ports):
    receive("ci", signed(ports, asks("promote")), ports)
    ports.clock.tick(minutes=4)
    assert receive("ci", signed(ports, asks("abort")), ports).outcome == "repeated"


def test_a_body_that_github_signed_is_refused_for_90_days(ports):
    receive("gh", github(asks("promote")), ports)
    ports.clock.tick(days=89)
    forget_calls(ports)
    assert receive("gh", github(asks("promote")), ports).outcome == "repeated"


def test_what_was_refused_by_how_things_stood_is_refused_later_too(ports):
    call = github(asks("start_rollout", model_id="digits", version_id="2"))
    assert receive("gh", call, ports).refusal.code == "not_found"
    registered(ports, "digits/2")
    before = world(ports)
    again = receive("gh", call, ports)
    assert (again.outcome, "refused: digits/2 is not registered" in str(again.refusal)) == ("repeated", True)
    assert world(ports) == before


def test_what_a_hook_is_not_for_is_refused(ports):
    make_hook("stop", ports, form=Form.STANDARD, actions=[Action.ABORT], endpoints=["digits"], secret=SECRET)
    before = world(ports)
    assert receive("stop", signed(ports, asks("promote")), ports).refusal.code == "forbidden"
    assert receive("stop", signed(ports, asks("abort", "faces"), "msg_2"), ports).refusal.code == "forbidden"
    assert world(ports) == before


def test_hooks_remember_their_own_calls_only(ports):
    make_hook("cd", ports, form=Form.STANDARD, actions=EVERY, endpoints=["digits"], secret=SECRET)
    assert receive("ci", signed(ports, asks("promote")), ports).outcome == "accepted"
    assert receive("cd", signed(ports, asks("abort")), ports).outcome == "accepted"


class Busy(FakeRegistry):
    """Somebody else writes just before our next commits."""

    clashes = 0

    def commit(self, writes, transitions=()):
        if self.clashes:
            self.clashes -= 1
            raise Conflict("another was first")
        super().commit(writes, transitions)


@pytest.mark.parametrize(("clashes", "outcome"), [(2, "accepted"), (3, "refused")])
def test_others_writes_are_waited_for_and_a_call_that_they_kept_out_may_come_again(clashes, outcome):
    ports = fake_ports(audit=Audit(), registry=Busy())
    stepping(ports, "digits/1")
    make_hook("ci", ports, form=Form.STANDARD, actions=EVERY, endpoints=["digits"], secret=SECRET)
    call = signed(ports, asks("promote"))
    ports.registry.clashes = clashes
    assert receive("ci", call, ports).outcome == outcome
    assert receive("ci", call, ports).outcome == ("repeated" if outcome == "accepted" else "accepted")
    assert len(promotions(ports)) == 1


class Crash(Exception):
    """The process ends."""


class Crashing(FakeRegistry):
    """Ends the process at the commit after the next `left`, before it or once it is done."""

    left = None
    after = False

    def commit(self, writes, transitions=()):
        if self.left == 0:
            self.left = None
            if self.after:
                super().commit(writes, transitions)
            raise Crash
        self.left = self.left if self.left is None else self.left - 1
        super().commit(writes, transitions)


@pytest.mark.parametrize("after", [False, True])
def test_a_call_that_a_crash_cut_off_is_done_once_when_it_is_sent_again(after):
    ports = fake_ports(audit=Audit(), registry=Crashing())
    stepping(ports, "digits/1")
    make_hook("ci", ports, form=Form.STANDARD, actions=EVERY, endpoints=["digits"], secret=SECRET)
    ports.registry.left, ports.registry.after = 0, after
    call = signed(ports, asks("promote"))
    with pytest.raises(Crash):
        receive("ci", call, ports)
    assert receive("ci", call, ports).outcome == ("repeated" if after else "accepted")
    assert len(promotions(ports)) == 1


def test_an_audit_line_holds_neither_secret_nor_signature_nor_body(ports):
    call = signed(ports, asks("promote", id="only-in-the-body"))
    receive("ci", call, ports)
    line = str(ports.audit.lines[-1].to_json())
    assert "msg_1" in line
    assert call.sha256 in line
    for kept_out in (SECRET, SECRET.removeprefix("whsec_"), call.header("webhook-signature"), "only-in-the-body"):
        assert kept_out not in line


# --- secrets -----------------------------------------------------------------------------------------------------
def test_a_secret_of_ours_is_long_and_shown_by_no_list(ports):
    hook, secret = make_hook("new", ports, form=Form.STANDARD, actions=EVERY, endpoints=["*"])
    assert receive("new", standard(asks("promote"), ports.clock(), secret=secret), ports).outcome == "accepted"
    assert secret not in repr(hook)
    assert secret not in str(list_hooks(ports))


def test_two_secrets_are_valid_while_a_sender_changes_over(ports):
    _, new = rotate("ci", ports)
    old_id, new_id = (each.id for each in list_hooks(ports)[0].secrets)
    assert receive("ci", standard(asks("promote"), ports.clock(), "a", new), ports).outcome == "accepted"
    assert receive("ci", standard(asks("promote"), ports.clock(), "b", SECRET), ports).outcome == "accepted"
    with pytest.raises(Rejected, match="has two secrets"):
        rotate("ci", ports)
    drop_secret("ci", old_id, ports)
    assert receive("ci", standard(asks("promote"), ports.clock(), "c", SECRET), ports).outcome == "refused"
    assert receive("ci", standard(asks("promote"), ports.clock(), "d", new), ports).outcome == "accepted"
    with pytest.raises(Rejected, match="is the only secret"):
        drop_secret("ci", new_id, ports)


def test_a_revoked_hook_is_as_if_it_never_was_and_its_secrets_are_gone(ports):
    revoke_hook("ci", ports)
    assert receive("ci", signed(ports, asks("promote")), ports).why == "no such hook"
    assert "whsec_" not in str([doc for doc in ports.registry.list("hook") if doc.id == "ci"])
    assert revoke_hook("ci", ports).revoked == ports.clock()
    with pytest.raises(NotFound):
        rotate("ci", ports)


def test_a_name_is_free_again_once_its_hook_was_revoked(ports):
    again = {"form": Form.STANDARD, "actions": EVERY, "endpoints": ["digits"]}
    with pytest.raises(Rejected, match="there is a hook 'ci'"):
        make_hook("ci", ports, **again)
    revoke_hook("ci", ports)
    _, secret = make_hook("ci", ports, **again)
    assert receive("ci", standard(asks("promote"), ports.clock(), secret=secret), ports).outcome == "accepted"


def test_a_plain_token_is_for_those_who_say_that_they_accept_it(ports):
    given = {"form": Form.GITLAB_TOKEN, "actions": EVERY, "endpoints": ["digits"]}
    with pytest.raises(Rejected, match="can send others for ever"):
        make_hook("gl", ports, **given)
    assert make_hook("gl", ports, **given, replayable=True)


def test_a_hook_that_was_stored_with_fewer_fields_is_read():
    registry = FakeRegistry()
    hook = make_hook("ci", fake_ports(), form=Form.STANDARD, actions=EVERY, endpoints=["*"])[0]
    body = {name: value for name, value in to_json(hook).items() if name not in {"rules", "revoked"}}
    registry.commit([replace(Stored("ci", hook).write, body=body)])
    assert Records(registry).get(Hook, "ci").value == hook


# --- memory ------------------------------------------------------------------------------------------------------
def test_what_was_taken_is_forgotten_after_90_days_and_says_so_to_its_table(ports):
    receive("ci", signed(ports, asks("promote")), ports)
    taken = Records(ports.registry).list(TakenCall)[0].value
    assert taken.until == ports.clock() + MEMORY
    ports.clock.tick(days=89)
    forget_calls(ports)
    assert len(Records(ports.registry).list(TakenCall)) == 1
    ports.clock.tick(days=2)
    forget_calls(ports)
    assert Records(ports.registry).list(TakenCall) == []


def test_a_call_sets_an_alias_and_is_taken_also_when_the_alias_is_that_already(ports):
    body = asks("set_alias", alias="blessed", model_id="digits", version_id="1")
    assert receive("ci", signed(ports, body, "a"), ports).outcome == "accepted"
    before = world(ports)
    assert receive("ci", signed(ports, body, "b"), ports).outcome == "accepted"
    assert receive("ci", signed(ports, body, "b"), ports).outcome == "repeated"
    assert world(ports) == before
    assert [t.message for t in ports.registry.timeline() if t.kind == "endpoint.alias_set"] == ["blessed is digits/1"]


def test_a_call_approves_the_gate_that_the_rollout_waits_at(ports):
    assert receive("ci", signed(ports, asks("approve"), "early"), ports).refusal.code == "conflict"
    records = Records(ports.registry)
    ports.registry.commit([records.open_rollout(records.endpoint("digits").value).to(gate=25).write])
    assert receive("ci", signed(ports, asks("approve")), ports).outcome == "accepted"
    approved = [t.message for t in ports.registry.timeline() if t.kind == "rollout.approved"]
    assert approved == ["25 % approved by hook ci"]
