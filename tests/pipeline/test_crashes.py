"""Proof by crashing: whatever call the process dies at, before or after it took effect, the end is the same."""

import pytest

from chalicelib.domain.refs import VersionRef
from tests.crash_world import Fuse, World, survive
from tests.fakes_artifacts import small_mar

GOLDEN = b'{"instance": 1, "expected": 2}\n' * 3
V1, V2, V3 = (VersionRef("m", v) for v in ("v1", "v2", "v3"))


def run(fuse: Fuse) -> dict:
    """Drop three versions one after another, with one crash, and return how it ended."""
    world = World()
    ports = world.start(fuse)
    for ref in (V1, V2, V3):
        world.drop.put(ref.prefix + "model.mar", small_mar())
        world.drop.put(ref.prefix + "golden.jsonl", GOLDEN)
        world.drop.put(ref.prefix + "README.md", str(ref).encode())
        for _ in range(15):
            ports = survive(ports, world, fuse)
    for _ in range(4):
        world.clock.tick(hours=2)
        ports = survive(ports, world, fuse)
    return world.outcome()


UNDISTURBED = Fuse()
EXPECTED = run(UNDISTURBED)


def test_undisturbed_the_good_version_is_promoted_and_the_bad_one_rolled_back():
    assert EXPECTED["rollouts"] == [(V1, "promoted"), (V2, "promoted"), (V3, "rolled_back")]
    assert EXPECTED["split"] == {V2: 100}
    assert EXPECTED["deployments"] == {V2}
    assert EXPECTED["examined"] == [(V1, 3), (V2, 3), (V3, 3)]
    assert EXPECTED["stored"] == 0
    assert UNDISTURBED.count > 50


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, UNDISTURBED.count + 1))
def test_a_crash_at_any_call_changes_nothing_in_the_end(at, after):
    assert run(Fuse(at, after=after)) == EXPECTED
