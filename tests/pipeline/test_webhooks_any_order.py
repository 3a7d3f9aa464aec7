"""Whatever happens in whatever order, each event has one delivery at each webhook, and comes to an end there."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib.domain.deliveries import Answer, Delivery, State
from chalicelib.local.bus import WebhookBus
from chalicelib.pipeline import webhooks
from chalicelib.pipeline.deliveries import forget_old, waiting
from chalicelib.pipeline.records import Records
from tests.crash_world import Crash, Fuse, Fused
from tests.pipeline.test_webhooks import DOWN, GONE, OK, URL, World

OTHER = "https://chat.example.com/"
REFUSES = Answer(400, "answered 400")
SHORT = st.sampled_from([0.5, 3, 20])  # seconds; so few of them that nothing is held back for long

ACTS = st.one_of(
    st.tuples(st.just("happen"), st.sampled_from(["digits", "m/1"])),
    st.tuples(st.just("announce")),
    st.tuples(st.just("send")),
    st.tuples(st.just("repeat")),
    st.tuples(st.just("crash"), st.sampled_from(["announce", "send"]), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("wait"), SHORT),
    st.tuples(st.just("answers"), st.sampled_from([URL, OTHER]), st.sampled_from([OK, DOWN])),
)
ROUGH = st.one_of(
    ACTS,
    st.tuples(st.just("answers"), st.sampled_from([URL, OTHER]), st.sampled_from([REFUSES, GONE])),
    st.tuples(st.just("wait"), st.sampled_from([1000, 90_000])),
    st.tuples(st.sampled_from(["redeliver", "forget"])),
)


BACK_SOON = [
    ("answers", URL, DOWN), ("happen", "digits"), ("announce",), ("send",),
    ("happen", "digits"), ("announce",), ("answers", URL, OK), ("send",),
]  # fmt: skip


class Busy(World):
    """A world with two webhooks, and everything that may happen to it."""

    def __init__(self):
        super().__init__()
        self.ids = [self.add()["id"], self.add(OTHER)["id"]]
        self.handed_out = []

    def act(self, act):
        match act:
            case ("happen", subject):
                self.happen(subject)
                self.clock.tick(microseconds=1)
            case ("repeat",):
                WebhookBus(self.registry, self.clock, on_new=lambda: None).publish(self.handed_out[-3:])
            case ("crash", verb, at, after):
                self.crash(verb, Fuse(at, after=after))
            case ("wait", seconds):
                self.clock.tick(seconds=seconds)
            case ("answers", url, answer):
                self.answers[url] = answer
            case ("redeliver",):
                webhooks.redeliver(self.registry, self.clock, self.ids[0])
            case ("forget",):
                forget_old(self.registry, self.clock())
            case ("announce",):
                self.handed_out += self.registry.unsent()
                self.announce()
            case ("send",):
                self.send()

    def crash(self, verb, fuse):
        registry = Fused(self.registry, ("commit", "mark_sent"), fuse)
        try:
            if verb == "announce":
                self.announce(registry, Fused(self.bus, ("publish",), fuse))
            else:
                self.send(registry, fuse.around(self.post))
        except Crash:
            return

    def always_holds(self):
        records = Records(self.registry).list(Delivery)
        names = [(d.value.webhook, d.value.event) for d in records]
        assert len(set(names)) == len(names)
        assert all((d.value.state is State.WAITING) == d.id.startswith("waiting/") for d in records)
        taken = {(url, event) for url, event in self.taken}
        urls = {w["id"]: w["url"] for w in webhooks.listed(self.registry)}
        for each in (d.value for d in records):
            assert each.state is not State.DELIVERED or (urls[each.webhook], each.event) in taken

    def come_to_an_end(self):
        self.answers.clear()
        for _ in range(60):
            self.announce()
            self.send()
            self.clock.tick(seconds=660)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(BACK_SOON)
@given(st.lists(ACTS, max_size=40))
def test_while_receivers_only_come_and_go_each_gets_every_event_in_order_of_its_subject(acts):
    world = Busy()
    for act in acts:
        world.act(act)
        world.always_holds()
    world.come_to_an_end()
    told = list(world.subjects.items())
    for url in (URL, OTHER):
        arrived = [event for u, event in dict.fromkeys(world.taken) if u == url]
        for subject in {s for _, s in told}:
            expected = [event for event, s in told if s == subject]
            assert [event for event in arrived if world.subjects[event] == subject] == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROUGH, max_size=40))
def test_whatever_receivers_answer_nothing_waits_for_ever_and_nothing_is_lost(acts):
    world = Busy()
    for act in acts:
        world.act(act)
        world.always_holds()
    world.come_to_an_end()
    assert waiting(world.registry) == []
    parked = {t.data["event"] for t in world.bus.published if t.kind == "webhook.parked"}
    for url in (URL, OTHER):
        arrived = {event for u, event in world.taken if u == url}
        assert set(world.subjects) <= arrived | parked
