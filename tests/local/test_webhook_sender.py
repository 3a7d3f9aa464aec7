"""The sender against real servers: signed calls, retries, and no receiver that holds up another."""

import time
from contextlib import ExitStack, closing
from datetime import timedelta

import pytest

from chalicelib.local.bus import WebhookBus
from chalicelib.local.gateway.tls import ensure_certificates, server_context
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.local.webhooks.sender import Sender
from chalicelib.pipeline import webhooks
from chalicelib.pipeline.transitions import transition
from tests.event_check import check_document
from tests.fakes import utc_now
from tests.platform_world import until
from tests.receivers import Receiver

TIMEOUT = 0.6


class Counting(SqliteRegistry):
    """Remembers which kinds were listed."""

    def __init__(self, path):
        super().__init__(path)
        self.listed = []

    def list(self, kind, prefix=""):
        self.listed.append(kind)
        return super().list(kind, prefix)


class World:
    """A registry in a file, and a sender on it that may be stopped and started."""

    def __init__(self, folder):
        self.registry = Counting(folder / "registry.sqlite")
        self.parts = ExitStack()
        self.told = []
        self.sender = self._sender()

    def _sender(self, **more):
        made = Sender(self.registry, utc_now, on_told=lambda: self.told.append(1), **{"timeout": TIMEOUT, **more})
        made.start()
        return made

    def close(self):
        self.sender.stop()
        self.parts.close()
        self.registry.close()

    def restart(self):
        self.sender.stop()
        self.sender = self._sender()

    def receiver(self, **how):
        receiver = self.parts.enter_context(Receiver(**how).serving())
        return receiver, self.add(receiver.url)

    def add(self, url, **more):
        given = {"kinds": ["*"], "private": True, **more}
        return webhooks.add(self.registry, utc_now, url=url, **given)

    def happen(self, *subjects):
        told = [transition("drop.seen", s, "x", at=utc_now(), once=f"{time.time()}") for s in subjects]
        WebhookBus(self.registry, utc_now, on_new=self.sender.look).publish(told)
        return [t.id for t in told]

    def shown(self, webhook):
        return webhooks.shown(self.registry, webhook["id"])


@pytest.fixture
def world(tmp_path):
    with closing(World(tmp_path)) as made:
        yield made


def test_an_event_arrives_signed_with_a_stable_id_and_as_documented(world):
    receiver, webhook = world.receiver()
    [event] = world.happen("m/1")
    until(lambda: world.shown(webhook)["delivered"], 10, "the delivery")
    [call] = receiver.received
    assert (call.headers["webhook-id"], call.event["id"], call.path) == (event, event, "/hook")
    assert call.headers["content-type"] == "application/json"
    assert call.headers["host"] == f"localhost:{receiver.port}"
    assert call.is_signed_with(webhook["secret"])
    check_document(call.event)


def test_while_a_secret_is_changed_both_verify(world):
    receiver, webhook = world.receiver()
    rotated = webhooks.rotate(world.registry, utc_now, webhook["id"], keep=timedelta(hours=1))
    world.happen("m/1")
    until(lambda: receiver.received, 10, "the call")
    assert [receiver.received[0].is_signed_with(w["secret"]) for w in (webhook, rotated)] == [True, True]


def test_a_receiver_that_fails_gets_the_same_bytes_again_until_it_takes_them(world):
    receiver, webhook = world.receiver(status=500)
    world.happen("m/1")
    until(lambda: len(receiver.received) == 2, 10, "a second attempt")
    receiver.status = 200
    until(lambda: world.shown(webhook)["delivered"], 20, "the delivery")
    assert len(set(receiver.ids)) == len({r.body for r in receiver.received}) == 1


def test_a_receiver_that_is_not_there_yet_is_tried_again(world):
    late = Receiver()
    with late.serving():
        pass  # the port was free a moment ago
    webhook = world.add(late.url)
    world.happen("m/1")
    until(lambda: "no answer" in world.shown(webhook)["trouble"], 10, "the refused connection")
    with late.serving():
        until(lambda: world.shown(webhook)["delivered"], 20, "the delivery")


def test_a_receiver_that_hangs_or_is_slow_holds_up_nobody_else(world):
    hanging, _ = world.receiver(hangs=True)
    slow, _ = world.receiver(delay=TIMEOUT / 2)
    quick, webhook = world.receiver()
    began = time.monotonic()
    world.happen(*(f"m/{n}" for n in range(12)))
    until(lambda: world.shown(webhook)["delivered"] == 12, 10, "all at the quick one")
    took = time.monotonic() - began
    assert took < 12 / 4 * TIMEOUT, "it waited for the others"
    assert hanging.most_at_once <= 4
    assert slow.most_at_once <= 4
    assert len(quick.received) == 12


def test_a_call_that_drips_ends_with_the_time_for_the_whole(world):
    receiver, webhook = world.receiver(hangs=True)
    world.happen("m/1")
    until(lambda: f"within {TIMEOUT:g} s" in world.shown(webhook)["trouble"], 10, "the timeout")
    assert len(receiver.received) >= 1


def test_a_redirect_is_not_followed(world):
    elsewhere, _ = world.receiver()
    _, webhook = world.receiver(status=307, headers={"Location": elsewhere.url + "?moved"})
    world.happen("m/1")
    until(lambda: "redirects aren't followed" in world.shown(webhook)["trouble"], 10, "the refusal")
    assert [r.path for r in elsewhere.received] == ["/hook"]


def test_a_name_that_leads_into_the_own_network_is_not_called_unless_that_was_asked_for(world):
    receiver, _ = world.receiver()
    webhook = world.add(f"https://localhost:{receiver.port}/secret", private=False)
    world.happen("m/1")
    until(lambda: "--private" in world.shown(webhook)["trouble"], 10, "the refusal")
    until(lambda: receiver.received, 10, "the webhook that may")
    assert [r.path for r in receiver.received] == ["/hook"]


def test_a_name_that_nobody_knows_is_trouble_that_is_shown(world):
    webhook = world.add("https://nobody.invalid/hook")
    world.happen("m/1")
    until(lambda: world.shown(webhook)["trouble"], 20, "the failed look-up")


def test_what_is_given_up_is_parked_told_and_sent_again_on_demand(world):
    receiver = world.parts.enter_context(Receiver(status=500).serving())
    webhook = world.add(receiver.url, patience=timedelta(seconds=1))
    [event] = world.happen("m/1")
    until(lambda: world.shown(webhook)["parked"], 20, "the parking")
    assert [t.kind for t in world.registry.unsent()] == ["webhook.parked"]
    assert world.told == [1]
    receiver.status = 200
    webhooks.redeliver(world.registry, utc_now, webhook["id"])
    world.sender.look()
    until(lambda: world.shown(webhook)["delivered"], 10, "the delivery")
    assert set(receiver.ids) == {event}


def test_a_stop_ends_at_once_and_what_was_under_way_is_sent_after_the_next_start(world):
    receiver, webhook = world.receiver(hangs=True)
    [event] = world.happen("m/1")
    until(lambda: receiver.received, 10, "the first attempt")
    began = time.monotonic()
    receiver.hangs = False
    world.restart()
    assert time.monotonic() - began < TIMEOUT
    until(lambda: world.shown(webhook)["delivered"], 10, "the delivery")
    assert set(receiver.ids) == {event}


def test_events_of_one_subject_arrive_in_order_whatever_the_receiver_does(world):
    receiver, webhook = world.receiver(status=503)
    events = [world.happen("m/1")[0] for _ in range(5)]
    until(lambda: len(receiver.received) == 2, 10, "two attempts")
    receiver.status = 200
    until(lambda: world.shown(webhook)["delivered"] == 5, 20, "all")
    assert list(dict.fromkeys(receiver.ids)) == events


def test_a_long_queue_for_a_receiver_that_is_down_is_not_read_at_each_attempt(world):
    receiver, _ = world.receiver(status=500)
    world.registry.listed.clear()
    world.happen(*(f"m/{n}" for n in range(100)))
    until(lambda: len(receiver.received) >= 150, 30, "many attempts")
    assert world.registry.listed.count("delivery") < 10


# --- TLS ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def certificate_of(tmp_path, monkeypatch):
    """Return what makes a server's TLS with a certificate for a name, by a CA that the sender trusts."""

    def make(name):
        ca, certificate, key = ensure_certificates(tmp_path / "tls", (name,), utc_now())
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        return server_context(certificate, key)

    return make


def test_over_tls_the_receivers_certificate_has_to_be_that_of_its_name(tmp_path, certificate_of):
    tls = certificate_of("localhost")
    with closing(World(tmp_path)) as world:
        receiver, webhook = world.receiver(tls=tls)
        world.happen("m/1")
        until(lambda: world.shown(webhook)["delivered"], 10, "the delivery")
        assert receiver.received[0].is_signed_with(webhook["secret"])


def test_a_certificate_of_another_name_ends_the_call_before_anything_is_sent(tmp_path, certificate_of):
    tls = certificate_of("other.example.com")
    with closing(World(tmp_path)) as world:
        receiver, webhook = world.receiver(tls=tls)
        world.happen("m/1")
        until(lambda: "certificate" in world.shown(webhook)["trouble"].lower(), 10, "the refusal")
        assert receiver.received == []
