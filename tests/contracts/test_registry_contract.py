"""One suite for every registry: in memory, SQLite, and DynamoDB on moto."""

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chalicelib.adapters.dynamodb import DynamoRegistry
from chalicelib.domain.errors import Conflict
from chalicelib.domain.findings import ArtifactFormat
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.transition import Transition
from chalicelib.domain.version import SealedFile, Version, version_digest
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.pipeline.ports import Write
from chalicelib.pipeline.records import Records, Stored
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


def version_of(files):
    sealed = tuple(SealedFile(f"variables/{n:05}/{'x' * 100}", n, f"{n:064x}") for n in range(files))
    return Version(
        ref=VersionRef("m", "1"),
        format=ArtifactFormat.SAVED_MODEL,
        digest=version_digest(sealed),
        store_prefix="m/1/attempt/",
        files=sealed,
        fingerprint="f",
        registered=NOW,
    )


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


def test_a_record_that_may_be_forgotten_is_there_until_then(registry):
    later = datetime.now(UTC) + timedelta(days=90)
    registry.commit([Write("k", "a", 0, {"x": 1}, expires=later)])
    assert registry.get("k", "a").body == {"x": 1}
    with pytest.raises(Conflict):
        registry.commit([Write("k", "a", 0, {"x": 2}, expires=later)])
    registry.commit([Write("k", "a", 1, None)])
    assert registry.list("k") == []


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


def test_ids_are_sorted_by_their_characters_and_prefixes_are_plain_text(registry):
    ids = ["A", "a", "a b", "a#b", "a%", "a/ü", "a/z", "a_", "ä", "名", "🚀"]
    registry.commit([Write("k", i, 0, {"i": i}) for i in reversed(ids)])
    assert [d.id for d in registry.list("k")] == sorted(ids)
    assert [d.id for d in registry.list("k", "a/")] == ["a/z", "a/ü"]
    assert [d.body["i"] for d in registry.list("k", "a%")] == ["a%"]


@pytest.mark.parametrize("size", [60_000, 70_000, 500_000])
def test_a_body_of_any_size_is_written_replaced_listed_and_deleted(registry, size):
    registry.commit([Write("k", "big", 0, {"text": "ü" * size}), Write("k", "small", 0, {})])
    registry.commit([Write("k", "big", 1, {"text": "n" * size})])
    assert registry.get("k", "big").body == {"text": "n" * size}
    assert [(d.id, d.revision, len(str(d.body)) > size) for d in registry.list("k")] == [
        ("big", 2, True),
        ("small", 1, False),
    ]
    registry.commit([Write("k", "big", 2, {"text": "short"})])
    assert registry.get("k", "big").body == {"text": "short"}
    registry.commit([Write("k", "big", 3, None)])
    assert [d.id for d in registry.list("k")] == ["small"]


def test_a_version_of_a_thousand_files_is_a_record_like_any_other(registry):
    version = version_of(1000)
    registry.commit([Stored(str(version.ref), version).write], [told("registered")])
    records = Records(registry)
    assert records.version(version.ref) == Stored("m/1", version, 1)
    assert [v.value for v in records.list(Version)] == [version]


def test_a_large_transition_is_told_like_any_other(registry):
    large = replace(told("large", rollout="r"), data={"text": "x" * 500_000})
    registry.commit([], [large, told("next")])
    assert registry.unsent() == [large, told("next")]
    assert registry.timeline(rollout="r") == [large]
    registry.mark_sent(["large"])
    assert registry.unsent() == [told("next")]


def test_a_repeated_transition_neither_stops_its_commit_nor_is_told_again(registry):
    registry.commit([], [told("old")])
    registry.mark_sent(["old"])
    registry.commit([Write("k", "a", 0, {})], [told("new"), told("old"), told("newer")])
    assert registry.get("k", "a").revision == 1
    assert [t.id for t in registry.unsent()] == ["new", "newer"]
    assert [t.id for t in registry.timeline(subject="m/1")] == ["old", "new", "newer"]


def test_a_repeated_transition_beside_a_lost_write_is_a_conflict(registry):
    registry.commit([Write("k", "a", 0, {"x": 1})], [told("old")])
    with pytest.raises(Conflict):
        registry.commit([Write("k", "b", 0, {}), Write("k", "a", 0, {"x": 2})], [told("old"), told("new")])
    assert (registry.get("k", "a").body, registry.get("k", "b")) == ({"x": 1}, None)
    assert [t.id for t in registry.timeline(subject="m/1")] == ["old"]


def test_of_two_transitions_with_one_id_in_a_commit_the_first_counts(registry):
    registry.commit([], [told("t"), replace(told("t"), message="again"), told("u")])
    assert registry.unsent() == [told("t"), told("u")]


def test_commits_at_one_moment_keep_their_order(registry):
    for n in range(12):
        registry.commit([], [told(f"{n}-b"), told(f"{n}-a")])
    expected = [f"{n}-{part}" for n in range(12) for part in "ba"]
    assert [t.id for t in registry.timeline(subject="m/1")] == expected
    assert [t.id for t in registry.unsent(5)] == expected[:5]
    assert [t.id for t in registry.timeline(subject="m/1", limit=3)] == expected[-3:]


def test_what_is_marked_twice_or_never_was_told_leaves_the_others(registry):
    registry.commit([], [told("a"), told("b"), told("c")])
    registry.mark_sent(["c", "never"])
    registry.mark_sent(["c"])
    assert [t.id for t in registry.unsent()] == ["a", "b"]


def test_a_record_that_was_deleted_is_made_anew_only_as_new(registry):
    registry.commit([Write("k", "a", 0, {"x": 1})])
    registry.commit([Write("k", "a", 1, None)])
    with pytest.raises(Conflict):
        registry.commit([Write("k", "a", 1, {"x": 2})])
    registry.commit([Write("k", "a", 0, {"x": 3})])
    assert registry.get("k", "a").body == {"x": 3}


def test_a_commit_of_nothing_does_nothing(registry):
    registry.commit([])
    assert (registry.list("k"), registry.unsent()) == ([], [])


@pytest.mark.parametrize("size", [1, 70_000])
def test_no_write_of_many_writers_is_lost_and_each_tells_once(registry, size):
    """Eight writers, each adding its names to one record and telling of it, whatever the others do meanwhile."""
    registry.commit([Write("k", "a", 0, {"names": [], "fill": "x" * size})])

    def add(name):
        while True:
            seen = registry.get("k", "a")
            body = {**seen.body, "names": [*seen.body["names"], name]}
            try:
                registry.commit([Write("k", "a", seen.revision, body)], [told(name)])
            except Conflict:
                continue
            return

    threads = [threading.Thread(target=lambda n=n: [add(f"{n}-{i}") for i in range(2)]) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    kept = registry.get("k", "a")
    assert sorted(kept.body["names"]) == [f"{n}-{i}" for n in range(8) for i in range(2)]
    assert kept.revision == 17
    assert sorted(t.id for t in registry.unsent()) == sorted(kept.body["names"])


def test_any_sequence_of_commits_ends_as_it_does_in_memory(registry):
    choose = random.Random(7)
    model = FakeRegistry()
    for _ in range(40):
        writes, transitions = any_writes(choose, model), any_transitions(choose)
        assert outcome(registry, writes, transitions) == outcome(model, writes, transitions)
        if choose.random() < 0.2:
            sent = [t.id for t in model.unsent(3)]
            model.mark_sent(sent)
            registry.mark_sent(sent)
    assert registry.list("k") == model.list("k")
    assert registry.unsent() == model.unsent()
    for subject in "xyz":
        assert registry.timeline(subject=subject, limit=20) == model.timeline(subject=subject, limit=20)
        assert registry.timeline(rollout=subject) == model.timeline(rollout=subject)


def any_writes(choose, model):
    """Return writes of some records, most of them at their revisions."""
    chosen = choose.sample("abcd", choose.randrange(3))
    seen = {id_: doc.revision if (doc := model.get("k", id_)) else 0 for id_ in chosen}
    wrong = {id_: revision + (choose.random() < 0.1) for id_, revision in seen.items()}
    bodies = (None if at and choose.random() < 0.2 else {"n": choose.random()} for at in wrong.values())
    return [Write("k", id_, at, body) for (id_, at), body in zip(wrong.items(), bodies, strict=True)]


def any_transitions(choose):
    """Return transitions, some of which were told before."""
    names = choose.sample(range(80), choose.randrange(4))
    return [told(f"t{n}", subject="xyz"[n % 3], rollout=["", "x", "y"][n % 5 % 3]) for n in names]


def outcome(registry, writes, transitions):
    try:
        registry.commit(writes, transitions)
    except Conflict:
        return "conflict"
    return "done"
