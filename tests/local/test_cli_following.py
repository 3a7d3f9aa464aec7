"""`push --wait` against a platform that comes and goes, and what a CI system is shown in the end."""

from dataclasses import replace

import pytest

from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.local.cli.annotating import annotate
from chalicelib.local.cli.connection import Platform
from chalicelib.local.cli.exits import Ended, Status
from chalicelib.local.cli.following import follow, look
from chalicelib.local.cli.settings import Settings
from chalicelib.local.home import Home
from chalicelib.pipeline.records import Records, Stored
from tests.api_caller import ended_as, rolling
from tests.local.cli_platform import SmallPlatform

REF = VersionRef("digits", "1")
VERSION = "/v1/models/digits/versions/1"


@pytest.fixture
def serving(tmp_path):
    with SmallPlatform(tmp_path).serving() as serving:
        yield serving


@pytest.fixture
def platform(serving):
    with Platform.of(Settings(Home(serving.home))) as platform:
        yield platform


class Flaky:
    """A platform whose first answers are no answers."""

    def __init__(self, platform, *troubles):
        self._platform = platform
        self._troubles = list(troubles)

    def find(self, path):
        if self._troubles:
            raise Ended(Status.UNREACHABLE, self._troubles.pop(0))
        return self._platform.find(path)

    def all(self, *args, **more):
        return self._platform.all(*args, **more)


def test_a_platform_that_starts_anew_is_waited_for(serving, platform):
    ended_as(serving.ports, "digits/1", Phase.PROMOTED, "")
    told = []
    flaky = Flaky(platform, "connection refused", "connection refused", "bad gateway")
    assert follow(REF, flaky, before=None, timeout=30, tell=told.append).status is Status.OK
    assert told == ["connection refused; trying again", "bad gateway; trying again"]


def test_who_never_comes_back_is_unreachable_and_no_verdict(serving, platform):
    with pytest.raises(Ended) as ended:
        follow(REF, Flaky(platform, *["refused"] * 99), before=None, timeout=0.2, tell=lambda _: None)
    assert (ended.value.status, "not live after" in str(ended.value)) == (Status.UNREACHABLE, True)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_answer_that_says_not_now_is_no_refusal(serving, platform, status):
    serving.answers[VERSION] = (status, {}, b'{"error": {"code": "x", "message": "wait"}}')
    with pytest.raises(Ended) as ended:
        follow(REF, platform, before=None, timeout=0.1, tell=lambda _: None)
    assert ended.value.status is Status.UNREACHABLE


def test_a_key_that_was_revoked_ends_the_wait_at_once(serving, platform):
    serving.answers[VERSION] = (401, {}, b'{"error": {"code": "unauthenticated", "message": "revoked"}}')
    with pytest.raises(Ended) as ended:
        follow(REF, platform, before=None, timeout=60, tell=lambda _: None)
    assert ended.value.status is Status.NO


def also_at(ports, endpoint, phase, reason=""):
    """Keep a second rollout of the same version, at another endpoint."""
    first = Records(ports.registry).list(Rollout)[-1].value
    other = replace(first, id=f"r-{endpoint}", endpoint=endpoint, phase=phase, reason=reason)
    ports.registry.commit([Stored(other.id, other).write])


@pytest.mark.parametrize(
    ("others", "status", "what"),
    [
        (Phase.STEPPING, None, "shop: stepping"),
        (Phase.ROLLED_BACK, Status.NO, "shop: rolled_back (4 errors)"),
        (Phase.PROMOTED, Status.OK, "shop: promoted (4 errors)"),
    ],
)
def test_a_version_is_live_when_each_of_its_endpoints_serves_it(serving, platform, others, status, what):
    ended_as(serving.ports, "digits/1", Phase.PROMOTED, "")
    also_at(serving.ports, "shop", others, "4 errors")
    sight = look(REF, platform, before=None)
    assert (sight.status, "digits: promoted" in sight.what, what in sight.what) == (status, True, True)


def test_a_version_is_looked_at_by_few_requests(serving, platform):
    rolling(serving.ports, "digits/1")
    look(REF, platform, before=None)
    assert len(serving.received) == 3


def test_github_is_told_in_its_own_words(monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    annotate("digits/1 is not live", "rolled back: 9 errors in 50, 100 %\nof them", failed=True)
    annotate("a, b: c", "fine", failed=False)
    assert capsys.readouterr().err.splitlines() == [
        "::error title=digits/1 is not live::rolled back: 9 errors in 50, 100 %25%0Aof them",
        "::notice title=a%2C b%3A c::fine",
    ]


def test_nobody_else_is(monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    annotate("a", "b", failed=True)
    assert capsys.readouterr().err == ""
