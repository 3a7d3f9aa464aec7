"""A split of a person's own survives a crash at any call: asked for, in force, changed and ended, and nothing lost."""

import pytest

from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline.dividing import ask_split, end_split
from chalicelib.pipeline.records import Records
from tests.crash_world import Crash, Fuse, World, restart, survive, turn
from tests.fakes_artifacts import small_mar

V1, V2, V3 = (VersionRef("m", v) for v in ("v1", "v2", "v3"))


def put(world, ref):
    world.drop.put(ref.prefix + "model.mar", small_mar())
    world.drop.put(ref.prefix + "README.md", str(ref).encode())


def ask(ports, world, fuse, verb, is_done):
    """Ask as a person does: after a crash once more, unless it was written down."""
    try:
        verb(ports)
    except Crash:
        ports = restart(world, fuse)
        if not is_done(Records(world.registry).endpoint("m").value):
            verb(ports)
    return ports


def meant(weights):
    """Return whether the split that a person means has these percents."""
    return lambda e: e.is_manual and sorted((e.asked or e.kept).weights.values()) == weights


def run(fuse: Fuse) -> dict:
    """Divide between v1 and v2 while v3 is dropped, with one crash; end with v1; return how it ended."""
    world = World()
    ports = world.start(Fuse())
    for ref in (V1, V2):
        put(world, ref)
        for _ in range(9):
            turn(ports, world)
    ports = world.start(fuse)

    def turns(count, **idle):
        nonlocal ports
        for _ in range(count):
            world.clock.tick(**idle)
            ports = survive(ports, world, fuse)

    ports = ask(ports, world, fuse, lambda p: ask_split("m", {"m/v2": 60, "m/v1": 40}, p), meant([40, 60]))
    turns(2)
    put(world, V3)
    turns(2)
    ports = ask(ports, world, fuse, lambda p: ask_split("m", {"m/v2": 10, "m/v1": 90}, p), meant([10, 90]))
    turns(3)
    divided = {k: v for k, v in world.outcome().items() if k in {"split", "deployments", "rollouts"}}
    ports = ask(ports, world, fuse, lambda p: end_split("m", V1, p), lambda e: not e.kept or (e.asked and e.asked.ends))
    turns(5)
    turns(2, hours=2)
    return {**world.outcome(), "divided": divided}


UNDISTURBED = Fuse()
EXPECTED = run(UNDISTURBED)


def test_undisturbed_the_split_is_kept_and_what_it_held_back_follows_its_end():
    assert EXPECTED["divided"] == {
        "split": {V2: 10, V1: 90},
        "deployments": {V1, V2},
        "rollouts": [(V1, "promoted"), (V2, "promoted")],
    }
    assert EXPECTED["rollouts"] == [(V1, "promoted"), (V2, "promoted"), (V3, "rolled_back")]
    assert (EXPECTED["split"], EXPECTED["promoted"]) == ({V1: 100}, V1)
    assert EXPECTED["deployments"] == {V1}
    told = [kind for kind, _ in EXPECTED["told"] if "split" in kind or "held" in kind]
    assert told == [
        "endpoint.split_asked", "endpoint.split_asked", "endpoint.split_asked", "endpoint.split_ended",
        "endpoint.split_set", "endpoint.split_set", "rollout.held_back",
    ]  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, UNDISTURBED.count + 1))
def test_a_crash_at_any_call_changes_nothing_in_the_end(at, after):
    assert run(Fuse(at, after=after)) == EXPECTED
