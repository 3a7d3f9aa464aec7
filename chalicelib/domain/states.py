"""The table of a rollout's states: which phase each action and each event outside may lead to, and no other.

It is a value so that one thing says it: `carry_out` refuses a move that isn't listed, the walks in the tests look for
one, and docs/states.md is drawn from it.
"""

from collections.abc import Mapping

from chalicelib.domain.rollout import JUDGED, OPEN, Action, Phase

NEWER = "a newer version"  # opens, or takes its place in the queue
TURN = "its turn"  # the rollout that it waited for has ended
ASKED = "a person or hook"  # pauses, resumes, approves, wishes
_BEFORE_ALL = (Phase.STARTING, Phase.SHADOWING, Phase.STEPPING)  # before the canary has all traffic
BEGINS = frozenset({Phase.QUEUED, Phase.STARTING})
_MAKING_ROOM = frozenset({Phase.RECREATING, Phase.RETURNING})  # a newer version waits for their end

TABLE: Mapping[str, Mapping[Phase, frozenset[Phase]]] = {
    "Start": {phase: frozenset({phase}) for phase in (*_BEFORE_ALL, Phase.RECREATING)},
    "Restart": {Phase.STARTING: frozenset({Phase.STARTING})},
    "FallBack": {phase: frozenset({phase}) for phase in (Phase.STARTING, Phase.RECREATING)},
    "Stop": {phase: frozenset({phase}) for phase in (Phase.RECREATING, Phase.RETURNING)},
    "StartStable": {Phase.RETURNING: frozenset({Phase.RETURNING})},
    "Examine": {phase: frozenset({phase}) for phase in (Phase.STARTING, Phase.RECREATING)},
    "Hold": {phase: frozenset({phase}) for phase in Phase},
    "Synthesize": {phase: frozenset({phase}) for phase in JUDGED},
    "Extend": {phase: frozenset({phase}) for phase in JUDGED},
    "Await": {phase: frozenset({phase}) for phase in _BEFORE_ALL},
    "Approve": {phase: frozenset({phase}) for phase in _BEFORE_ALL},
    "Shadow": {phase: frozenset({Phase.SHADOWING}) for phase in (Phase.STARTING, Phase.SHADOWING)},
    "Shift": {
        Phase.STARTING: frozenset({Phase.STEPPING}),
        Phase.SHADOWING: frozenset({Phase.STEPPING}),
        Phase.STEPPING: frozenset({Phase.STEPPING}),
    },
    "Recreate": {Phase.STARTING: frozenset({Phase.RECREATING})},
    "Bake": {phase: frozenset({Phase.BAKING}) for phase in (*_BEFORE_ALL, Phase.RECREATING)},
    "Promote": {phase: frozenset({Phase.PROMOTED}) for phase in OPEN - {Phase.RETURNING}},
    "Return": {phase: frozenset({Phase.RETURNING}) for phase in (Phase.RECREATING, Phase.BAKING)},
    "RollBack": {
        Phase.STARTING: frozenset({Phase.ABORTED}),
        Phase.SHADOWING: frozenset({Phase.ABORTED}),
        Phase.STEPPING: frozenset({Phase.ROLLED_BACK, Phase.ABORTED}),
        Phase.BAKING: frozenset({Phase.ROLLED_BACK, Phase.ABORTED}),
        Phase.RETURNING: frozenset({Phase.ROLLED_BACK, Phase.ABORTED, Phase.FAILED}),
    },
    "Fail": {phase: frozenset({Phase.FAILED}) for phase in (Phase.STARTING, Phase.SHADOWING)},
    NEWER: {
        **{phase: frozenset({Phase.SUPERSEDED, phase}) for phase in (OPEN - _MAKING_ROOM) | {Phase.QUEUED}},
        **{phase: frozenset({phase}) for phase in _MAKING_ROOM},
    },
    TURN: {Phase.QUEUED: frozenset({Phase.STARTING, Phase.SUPERSEDED})},
    ASKED: {phase: frozenset({phase}) for phase in OPEN},
}


class Unlisted(Exception):
    """A move that the table of states doesn't list: a bug, and nothing is written."""


def check(before: Phase, action: Action, after: Phase) -> None:
    """Raise Unlisted unless the table lists what an action makes of a phase."""
    if after not in TABLE[type(action).__name__].get(before, frozenset()):
        raise Unlisted(f"{type(action).__name__} led from {before} to {after}, which domain.states doesn't list")


def leads(before: Phase, after: Phase) -> bool:
    """Tell whether anything at all leads from one phase to another."""
    return any(after in row.get(before, frozenset()) for row in TABLE.values())
