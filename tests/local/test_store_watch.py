"""A store's hints reach the platform, whatever way it has to give them."""

import json
import threading

import pytest

from chalicelib.local.stores import Watcher, Webhook
from chalicelib.local.stores.watch import ListingPoll
from tests.fakes import FakeBucket
from tests.stores import eventually

STOP = threading.Event()


def looked(poll) -> list[str]:
    seen: list[str] = []
    poll(seen.append, STOP)
    return seen


@pytest.mark.parametrize("versioned", [True, False])
def test_two_listings_compared_show_what_came_changed_and_went(versioned):
    bucket = FakeBucket(versioned=versioned)
    poll = ListingPoll(bucket, every=0)
    for key in ("old/v/a", "gone/v/a", "same/v/a"):
        bucket.put(key, b"1")
    assert looked(poll) == ["gone/v/", "old/v/", "same/v/"]
    assert looked(poll) == []
    bucket.put("old/v/a", b"2")
    bucket.put("new/v/a", b"1")
    bucket.delete(["gone/v/a"])
    assert looked(poll) == ["gone/v/", "new/v/", "old/v/"]


def test_our_own_reports_are_no_change_of_a_listing():
    bucket = FakeBucket()
    bucket.put("m/v/_report.json", b"{}")
    bucket.put("_reports/x.json", b"{}")
    assert looked(ListingPoll(bucket, every=0)) == []


def test_a_listing_that_could_not_be_handed_on_is_compared_again():
    bucket = FakeBucket()
    bucket.put("m/v/a", b"1")
    poll = ListingPoll(bucket, every=0)

    def refuse(_prefix: str) -> None:
        raise OSError("the platform is busy")

    with pytest.raises(OSError, match="busy"):
        poll(refuse, STOP)
    assert looked(poll) == ["m/v/"]


def test_a_watcher_goes_on_after_an_error_and_ends_when_it_is_stopped():
    calls: list[int] = []

    def poll(on_look, stop) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the store restarts")
        on_look("m/v/")
        stop.wait(60)

    seen: list[str] = []
    watcher = Watcher(poll, seen.append, after_error=0.01)
    watcher.start()
    assert eventually(lambda: seen == ["m/v/"])
    watcher.stop()
    assert not any(thread.name == "store-watcher" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("header", "welcome"),
    [
        ("Bearer s3cret", True),
        ("Bearer s3cre", False),
        ("s3cret", False),
        ("", False),
        (None, False),
        ("Bearer ü", False),
    ],
)
def test_only_the_stores_own_token_is_welcome(header, welcome):
    assert Webhook("s3cret").check_token(header) is welcome


def test_a_webhook_takes_an_event_and_passes_over_what_it_does_not_understand():
    webhook = Webhook("t")
    event = {"Records": [{"eventSource": "minio:s3", "s3": {"object": {"key": "m%2Fv%2Fa+b"}}}]}
    assert [look.prefix for look in webhook.receive(json.dumps(event).encode())] == ["m/v/"]
    assert list(webhook.receive(b"nonsense")) == []


def test_a_token_is_not_shown():
    assert "s3cret" not in repr(Webhook("s3cret"))
