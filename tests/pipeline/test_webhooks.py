"""Webhooks in the registry: what is handed out, settled, asked for again, and that a crash loses nothing."""

import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from chalicelib.domain.deliveries import HOLD_BACK, Answer, next_up
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.standard_webhooks import secret_of
from chalicelib.domain.webhooks import Webhook
from chalicelib.local.bus import Buses, WebhookBus
from chalicelib.pipeline import webhooks
from chalicelib.pipeline.announce import announce
from chalicelib.pipeline.deliveries import forget_old, keep_answer, waiting
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.transitions import transition
from tests.crash_world import Crash, Fuse, Fused
from tests.event_check import check_document, check_event
from tests.fakes_pipeline import FakeBus, FakeClock, fake_ports
from tests.fakes_registry import FakeRegistry

URL = "https://ci.example.com/hook"
OK, DOWN, GONE = Answer(200, "answered 200"), Answer(0, "no answer within 10 s"), Answer(410, "answered 410")


@dataclass
class World:
    """A registry that outlives crashes, and receivers as literal answers."""

    clock: FakeClock = field(default_factory=FakeClock)
    registry: FakeRegistry = field(default_factory=lambda: FakeRegistry(check=check_event))
    bus: FakeBus = field(default_factory=FakeBus)
    answers: dict[str, Answer] = field(default_factory=dict)  # by URL; else it is taken
    taken: list[tuple[str, str]] = field(default_factory=list)  # (URL, event)
    subjects: dict[str, str] = field(default_factory=dict)  # of events

    def add(self, url=URL, kinds=("*",), **more):
        return webhooks.add(self.registry, self.clock, url=url, kinds=kinds, **more)

    def happen(self, *subjects, kind="drop.seen"):
        told = [transition(kind, s, "x", at=self.clock(), once=f"{s}{self.clock()}") for s in subjects]
        self.registry.commit([], told)
        self.subjects |= {t.id: t.subject for t in told}
        return [t.id for t in told]

    def announce(self, registry=None, bus=None):
        using = registry or self.registry
        buses = Buses((WebhookBus(using, self.clock, on_new=lambda: None), bus or self.bus))
        announce(fake_ports(registry=using, bus=buses, clock=self.clock))

    def send(self, registry=None, post=None):
        """Make every attempt that is due, as the sender does."""
        using = registry or self.registry
        known = {w.id: w.value for w in Records(using).list(Webhook)}
        stored = {(d.value.webhook, d.value.event): d for d in waiting(using)}
        for delivery in next_up([d.value for d in stored.values()], [], self.clock()):
            webhook = known[delivery.webhook]
            answer = (post or self.post)(webhook, delivery)
            keep_answer(stored[webhook.id, delivery.event], webhook, answer, using, now=self.clock(), chance=0.5)

    def post(self, webhook, delivery):
        answer = self.answers.get(webhook.url, OK)
        if answer is OK:
            self.taken.append((webhook.url, delivery.event))
        return answer

    def all_sent(self, turns=30):
        for _ in range(turns):
            self.announce()
            self.send()
            self.clock.tick(seconds=700)


@pytest.fixture
def world():
    return World()


def state(world, webhook):
    found = webhooks.shown(world.registry, webhook["id"])
    return found["waiting"], found["delivered"], found["parked"]


# --- handing out -------------------------------------------------------------------------------------------------
def test_each_webhook_gets_the_events_that_it_takes_once_and_in_order(world):
    all_, rollouts = world.add(), world.add("https://chat.example.com/", ["rollout.*"])
    first = world.happen("m/1", "m/2", "m/3")
    world.all_sent()
    assert [event for url, event in world.taken if url == URL] == first
    assert (state(world, all_), state(world, rollouts)) == ((0, 3, 0), (0, 0, 0))


def test_what_is_sent_is_the_event_as_everybody_is_told_it(world):
    world.add()
    world.happen("m/1")
    world.announce()
    [delivery] = waiting(world.registry)
    [told] = world.bus.published
    check_document(json.loads(delivery.value.body))
    assert delivery.value.event == told.id


def test_a_webhook_hears_of_nothing_that_was_told_before_it_was_added(world):
    world.happen("m/1")
    world.announce()
    world.add()
    world.all_sent()
    assert world.taken == []


def test_a_repeat_of_the_outbox_hands_out_nothing_twice(world):
    added = world.add()
    bus = WebhookBus(world.registry, world.clock, on_new=lambda: None)
    world.happen("m/1")
    bus.publish(world.registry.unsent())
    world.send()
    bus.publish(world.registry.unsent())
    world.all_sent()
    assert (len(world.taken), state(world, added)) == (1, (0, 1, 0))


# --- a receiver that can't or won't ------------------------------------------------------------------------------
def test_a_receiver_that_is_down_for_hours_gets_everything_later_and_in_order(world):
    world.add()
    world.answers[URL] = DOWN
    events = []
    for _ in range(4):
        events += world.happen("m/1")
        world.announce()
        world.send()
        world.clock.tick(seconds=30)
    world.clock.tick(seconds=HOLD_BACK.total_seconds() / 2)
    world.answers.clear()
    world.all_sent()
    assert [event for _, event in world.taken] == events


def test_an_event_is_parked_after_the_webhooks_patience_and_that_is_an_event_for_the_others(world):
    broken, other = world.add(patience=timedelta(hours=1)), world.add("https://chat.example.com/")
    world.answers[URL] = DOWN
    [event] = world.happen("m/1")
    world.all_sent()
    assert state(world, broken) == (0, 0, 1)
    parked = [t for t in world.bus.published if t.kind == "webhook.parked"]
    assert [(t.subject, t.data["event"], t.data["last"]) for t in parked] == [(broken["id"], event, DOWN.why)]
    assert [e for url, e in world.taken if url == other["url"]] == [event, parked[0].id]


def test_two_receivers_that_are_both_down_dont_tell_each_other_of_it_for_ever(world):
    for url in (URL, "https://chat.example.com/"):
        world.add(url, patience=timedelta(minutes=10))
        world.answers[url] = DOWN
    world.happen("m/1")
    world.all_sent(turns=100)
    assert len([t for t in world.bus.published if t.kind == "webhook.parked"]) == 2
    assert waiting(world.registry) == []


def test_what_was_parked_is_sent_again_when_a_person_asks(world):
    added = world.add()
    world.answers[URL] = GONE
    events = world.happen("m/1", "m/2")
    world.all_sent()
    world.answers.clear()
    again = webhooks.redeliver(world.registry, world.clock, added["id"])
    assert [(d["event"], d["state"]) for d in again] == [(e, "waiting") for e in sorted(events)]
    world.all_sent()
    assert ({e for _, e in world.taken}, state(world, added)) == (set(events), (0, 2, 0))


def test_a_delivered_event_can_be_asked_for_by_its_id_and_an_unknown_one_is_said(world):
    added = world.add()
    [event] = world.happen("m/1")
    world.all_sent()
    webhooks.redeliver(world.registry, world.clock, added["id"], [event])
    world.all_sent()
    assert world.taken == [(URL, event)] * 2
    with pytest.raises(NotFound, match="nothing-like-it"):
        webhooks.redeliver(world.registry, world.clock, added["id"], ["nothing-like-it"])


def test_an_answer_to_what_was_removed_meanwhile_changes_nothing(world):
    added = world.add()
    world.happen("m/1")
    world.announce()

    def removed_meanwhile(webhook, delivery):
        webhooks.remove(world.registry, added["id"])
        return OK

    world.send(post=removed_meanwhile)
    assert (webhooks.listed(world.registry), waiting(world.registry)) == ([], [])


def test_what_ended_long_ago_is_forgotten_and_what_waits_never_is(world):
    added = world.add(patience=timedelta(days=30))
    world.happen("m/1")
    world.all_sent()
    world.answers[URL] = DOWN
    world.happen("m/2")
    world.announce()
    world.clock.tick(days=8)
    forget_old(world.registry, world.clock())
    assert state(world, added) == (1, 0, 0)


# --- steering ----------------------------------------------------------------------------------------------------
def test_a_secret_is_shown_once_and_another_follows_it_without_a_gap(world):
    added = world.add()
    assert "secret" not in webhooks.listed(world.registry)[0]
    rotated = webhooks.rotate(world.registry, world.clock, added["id"], keep=timedelta(hours=1))
    kept = Records(world.registry).get(Webhook, added["id"]).value
    assert kept.signing(world.clock()) == [rotated["secret"], added["secret"]]
    world.clock.tick(hours=2)
    assert kept.signing(world.clock()) == [rotated["secret"]]


def test_a_secret_of_the_operators_own_is_taken_and_a_bad_one_refused(world):
    own = secret_of(b"o" * 24)
    assert world.add(secret=own)["secret"] == own
    with pytest.raises(Rejected, match="whsec_"):
        world.add(secret="hunter2")


def test_a_leaked_secret_ends_at_once_where_nothing_is_to_be_kept(world):
    added = world.add()
    rotated = webhooks.rotate(world.registry, world.clock, added["id"], keep=timedelta(0))
    assert Records(world.registry).get(Webhook, added["id"]).value.signing(world.clock()) == [rotated["secret"]]


def test_there_is_a_limit_to_webhooks(world):
    for _ in range(webhooks.MOST):
        world.add()
    with pytest.raises(Rejected, match="remove one"):
        world.add()


def test_a_webhook_that_isnt_there_is_said_so(world):
    for verb in (webhooks.shown, webhooks.remove, webhooks.deliveries):
        with pytest.raises(NotFound, match="wh-none"):
            verb(world.registry, "wh-none")


# --- crashes -----------------------------------------------------------------------------------------------------
def run(fuse):
    """Let six events go to two webhooks, one of them down for a while, and die at one call; return how it ended."""
    world = World()
    world.add()
    world.add("https://chat.example.com/", ["drop.*"])
    world.answers[URL] = DOWN
    registry = Fused(world.registry, ("commit", "mark_sent"), fuse)
    bus, post = Fused(world.bus, ("publish",), fuse), fuse.around(world.post)
    for turn in range(24):
        if turn < 3:
            world.happen(f"m/{turn}", "m/always")
        if turn == 6:
            world.answers.clear()
        for act in (lambda: world.announce(registry, bus), lambda: world.send(registry, post)):
            try:
                act()
            except Crash:
                continue  # the next turn is the next process: nothing is remembered
        world.clock.tick(seconds=60)
    counts = sorted((w["url"], w["waiting"], w["delivered"], w["parked"]) for w in webhooks.listed(world.registry))
    order: dict[tuple[str, str], list[str]] = {}
    for url, event in dict.fromkeys(world.taken):  # a receiver drops repeats
        order.setdefault((url, world.subjects[event]), []).append(event)
    return {"order": order, "counts": counts, "lines": {t.id for t in world.bus.published}}


UNDISTURBED = Fuse()
EXPECTED = run(UNDISTURBED)


def test_undisturbed_both_webhooks_get_all_six():
    assert EXPECTED["counts"] == [("https://chat.example.com/", 0, 6, 0), (URL, 0, 6, 0)]
    assert (len(EXPECTED["order"]), len(EXPECTED["lines"])) == (8, 6)
    assert UNDISTURBED.count > 50


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, UNDISTURBED.count + 1))
def test_a_crash_at_any_call_loses_no_event_and_keeps_each_subjects_order(at, after):
    assert run(Fuse(at, after=after)) == EXPECTED
