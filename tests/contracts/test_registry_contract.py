"""One suite for every registry: in memory, SQLite, and DynamoDB on moto."""

import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from chalicelib.adapters.dynamodb import DynamoRegistry
from chalicelib.domain.errors import Conflict
from chalicelib.domain.transition import Transition
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.pipeline.ports import Write
from tests.aws_tables import make_table, mocked_client
from tests.fakes import FakeBucket
from tests.fakes_registry import FakeRegistry

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def dynamodb():
    with mocked_client() as client:
        yield client


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def registry(request, tmp_path):
    if request.param == "memory":
        yield FakeRegistry()
    elif request.param == "sqlite":
        opened = SqliteRegistry(tmp_path / "registry.sqlite")
        yield opened
        opened.close()
    else:
        client = request.getfixturevalue("dynamodb")
        yield DynamoRegistry(client, make_table(client, f"t-{uuid4().hex}"), FakeBucket(), lambda: NOW)


def told(name, subject="m/1", rollout=""):
    return Transition(id=name, kind="k", subject=subject, at=NOW, message=name, rollout=rollout, data={"n": [1]})


def test_what_was_written_is_read_with_its_revision(registry):
    registry.commit([Write("k", "a", 0, {"x": 1})])
    registry.commit([Write("k", "a", 1, {"x": 2})])
    doc = registry.get("k", "a")
    assert (doc.revision, doc.body) == (2, {"x": 2})
    assert registry.get("k", "b") is None


@pytest.mark.parametrize("expected", [0, 2])
def test_a_write_at_another_revision_conflicts_and_none_of_its_commit_happens(registry, expected):
    registry.commit([Write("k", "a", 0, {"x": 1})])
    with pytest.raises(Conflict):
        registry.commit([Write("k", "new", 0, {}), Write("k", "a", expected, {"x": 9})], [told("t")])
    assert registry.get("k", "new") is None
    assert registry.get("k", "a").body == {"x": 1}
    assert registry.unsent() == []


def test_a_delete_is_conditional_too(registry):
    registry.commit([Write("k", "a", 0, {})])
    with pytest.raises(Conflict):
        registry.commit([Write("k", "a", 7, None)])
    registry.commit([Write("k", "a", 1, None)])
    assert registry.get("k", "a") is None


def test_a_listing_is_sorted_and_of_one_kind_and_prefix(registry):
    registry.commit([Write("k", i, 0, {}) for i in ("b/2", "b/1", "a%_", "c")] + [Write("other", "b/3", 0, {})])
    assert [d.id for d in registry.list("k")] == ["a%_", "b/1", "b/2", "c"]
    assert [d.id for d in registry.list("k", "b/")] == ["b/1", "b/2"]


def test_a_transition_is_kept_once_whatever_is_repeated(registry):
    registry.commit([], [told("t1"), told("t2")])
    registry.commit([], [told("t1")])
    assert [t.id for t in registry.unsent()] == ["t1", "t2"]
    registry.mark_sent(["t1"])
    assert [t.id for t in registry.unsent()] == ["t2"]


def test_a_timeline_is_the_newest_of_a_subject_or_a_rollout_oldest_first(registry):
    registry.commit([], [told("a", rollout="r"), told("b"), told("c", subject="m/2", rollout="r"), told("d")])
    assert [t.id for t in registry.timeline(subject="m/1", limit=2)] == ["b", "d"]
    assert [t.id for t in registry.timeline(rollout="r")] == ["a", "c"]
    assert registry.timeline(rollout="r")[0] == told("a", rollout="r")


def test_of_many_writers_at_one_revision_exactly_one_wins(registry):
    registry.commit([Write("k", "a", 0, {})])
    won = []

    def write(n):
        try:
            registry.commit([Write("k", "a", 1, {"by": n})])
            won.append(n)
        except Conflict:
            pass

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert registry.get("k", "a").body == {"by": won[0]}
    assert len(won) == 1
