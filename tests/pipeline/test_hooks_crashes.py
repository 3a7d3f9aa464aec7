"""What CI asks for by a hook survives a crash at any call: a sender that tries until it is told has it done once."""

import pytest

from chalicelib.domain.hooks import Action, Form
from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline.hook_calls import receive
from chalicelib.pipeline.hooks import make_hook
from tests.crash_world import Crash, Fuse, World, restart, survive, turn
from tests.fakes_artifacts import small_mar
from tests.hook_calls import SECRET, asks, standard

V1, V2 = (VersionRef("m", v) for v in ("v1", "v2"))


def send(ports, world, fuse, call):
    """Send a call until it is answered, as its sender does, each time signed anew; return the ports and the answers."""
    outcomes = []
    while not outcomes or outcomes[-1] == "crash":
        try:
            outcomes.append(str(receive("ci", call(), ports).outcome))
        except Crash:
            outcomes.append("crash")
            ports = restart(world, fuse)
    return ports, outcomes


def run(fuse: Fuse) -> tuple[dict, list[list[str]]]:
    """Serve v2 after v1, name v2 by an alias, go back to v1, all by hooks, with one crash; return how it ended."""
    world = World()
    ports = world.start(Fuse())
    for ref in (V1, V2):
        world.drop.put(ref.prefix + "model.mar", small_mar())
        for _ in range(9):
            turn(ports, world)
    make_hook("ci", ports, form=Form.STANDARD, actions=[*Action], endpoints=["m"], secret=SECRET)
    ports, answers = survive(world.start(fuse), world, fuse), []
    for body, turns in (
        (asks("set_alias", "m", alias="blessed", model_id="m", version_id="v2"), 1),
        (asks("start_rollout", "m", model_id="m", version_id="v1"), 2),
        (asks("promote", "m"), 5),
    ):
        id_ = f"msg_{len(answers)}"
        ports, outcomes = send(ports, world, fuse, lambda body=body, id_=id_: standard(body, world.clock(), id_))
        answers.append(outcomes)
        for _ in range(turns):
            ports = survive(ports, world, fuse)
    ended = world.outcome()
    # How far a canary came before it was promoted is a matter of when.
    ended["told"] = [each for each in ended["told"] if each[0] != "rollout.shifted"]
    return ended, answers


UNDISTURBED = Fuse()
EXPECTED, ANSWERS = run(UNDISTURBED)


def test_undisturbed_each_call_is_accepted_and_done():
    assert ANSWERS == [["accepted"]] * 3
    assert EXPECTED["rollouts"] == [(V1, "promoted"), (V1, "promoted"), (V2, "promoted")]
    assert (EXPECTED["split"], EXPECTED["promoted"]) == ({V1: 100}, V1)
    told = [kind for kind, _ in EXPECTED["told"]]
    assert [told.count(k) for k in ("rollout.opened", "rollout.promote_asked", "endpoint.alias_set")] == [3, 1, 1]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, UNDISTURBED.count + 1))
def test_a_crash_at_any_call_changes_nothing_in_the_end(at, after):
    outcome, answers = run(Fuse(at, after=after))
    assert outcome == EXPECTED
    # What was done before the crash is told as such, and not done again.
    assert {outcomes[-1] for outcomes in answers} <= {"accepted", "repeated"}
