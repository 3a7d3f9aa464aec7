"""Whom a caller means by an alias or a version, and which aliases move by themselves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.domain.aliases import addressed, aliases_of, check_alias, pointed, without_alias
from chalicelib.domain.deployment import Deployment, Endpoint, Resources
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.domain.moves import LINGER, let_go, opened, promoted, without_retired
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Plan, Rollout
from chalicelib.domain.split import Split

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def deployment(id_, name):
    return Deployment(id_, "digits", VersionRef.parse(name), "sha256:x", "sealed/", Resources())


RUNNING = {
    "d1": deployment("d1", "digits/v1"),
    "d2": deployment("d2", "digits/v2"),
    "e2": deployment("e2", "faces/v2"),
    "d3": deployment("d3", "digits/v3"),
    "d3-big": deployment("d3-big", "digits/v3"),
}
DIGITS = Endpoint(
    "digits", "digits", RUNNING, Split({"d1": 80, "d3": 20}, "r"), promoted="d1", previous="d2", aliases={"blue": "e2"}
)


@pytest.mark.parametrize(
    ("alias", "version", "answers"),
    [
        ("", "", ""),
        ("champion", "", "d1"),
        ("previous", "", "d2"),
        ("blue", "", "e2"),
        ("", "v1", "d1"),
        ("", "digits/v2", "d2"),
        ("", "faces/v2", "e2"),
        ("", "v3", "d3"),  # of two deployments the one with traffic
    ],
)
def test_a_name_means_one_deployment(alias, version, answers):
    assert addressed(DIGITS, alias=alias, version=version) == answers


@pytest.mark.parametrize(
    ("alias", "version", "said"),
    [
        ("green", "", "has no alias 'green'; there are champion, previous, blue"),
        ("", "v9", "runs no version 'v9'; it runs digits/v1, digits/v2"),
        ("", "v2", "'v2' may be digits/v2 or faces/v2: say which"),
        ("blue", "v1", "either an alias or a version"),
    ],
)
def test_a_name_that_means_nothing_or_two_things_is_refused_with_what_there_is(alias, version, said):
    with pytest.raises(Rejected, match=said):
        addressed(DIGITS, alias=alias, version=version)


def test_the_platforms_own_aliases_move_in_the_write_that_promotes():
    rollout = Rollout("r2", "digits", RUNNING["d3"].ref, RUNNING["d3"], "d1", Plan(), NOW)
    after, _ = promoted(opened(DIGITS, rollout), rollout, "better", NOW)
    assert aliases_of(after) == {"champion": "d3", "previous": "d1", "blue": "e2"}


def test_before_a_promotion_there_is_no_champion():
    assert aliases_of(Endpoint("new", "digits")) == {}


@pytest.mark.parametrize(
    ("alias", "said"), [("champion", "kept by the platform"), ("previous", "kept"), ("a/b", "not legal"), ("", "legal")]
)
def test_some_names_cannot_be_given(alias, said):
    with pytest.raises(Rejected, match=said):
        check_alias(alias)


def test_several_aliases_may_name_one_deployment_and_each_is_removed_by_itself():
    both = pointed(DIGITS, "green", "e2")
    assert without_alias(both, "blue").aliases == {"green": "e2"}
    with pytest.raises(NotFound, match="no alias 'pink' of yours"):
        without_alias(both, "pink")


def test_an_endpoint_has_at_most_fifty():
    many = replace(DIGITS, aliases={f"a{n}": "d1" for n in range(50)})
    assert pointed(many, "a7", "d2").aliases["a7"] == "d2"
    with pytest.raises(Rejected, match="remove one"):
        pointed(many, "more", "d1")


def test_what_an_alias_names_outlives_its_time_and_retires_when_the_alias_leaves_it():
    warm = replace(DIGITS, previous_until=NOW, aliases={"blue": "d2"})
    kept = without_retired(warm, NOW + timedelta(hours=1))
    assert "d2" in kept.deployments
    assert kept.previous == ""
    left = let_go(kept, without_alias(kept, "blue"), "", NOW)
    assert left.retiring == {"d2": NOW + LINGER}
    assert "d2" not in without_retired(left, NOW + LINGER).deployments


@pytest.mark.parametrize(("named", "canary"), [("d1", ""), ("d3-big", "d3-big")])
def test_what_something_else_needs_does_not_retire(named, canary):
    before = pointed(DIGITS, "green", named)
    assert let_go(before, without_alias(before, "green"), canary, NOW) == DIGITS
