"""What a rollout does next: one action from its record, what is seen and the time.

Pure, total and without memory: the same three values always give the same action, so a wake-up may come early, late,
twice or not at all. A gate is a function that returns an action, or None to let the next one look; their order is the
policy, and docs/rollout.md has it as a table.
"""

from datetime import datetime

from chalicelib.domain.decide_recreate import before_recreating, recreating, returning
from chalicelib.domain.decide_shadow import shadowing
from chalicelib.domain.decide_start import starting
from chalicelib.domain.decide_traffic import with_traffic
from chalicelib.domain.rollout import Action, Hold, Observation, Phase, Rollout


def decide(rollout: Rollout, seen: Observation, now: datetime) -> Action:
    """Return the one next action."""
    match rollout.phase:
        case Phase.STARTING:
            return before_recreating(rollout, seen, now) if rollout.recreates else starting(rollout, seen, now)
        case Phase.RECREATING | Phase.RETURNING:
            back = rollout.phase is Phase.RETURNING
            return returning(rollout, seen) if back else recreating(rollout, seen, now)
        case Phase.SHADOWING:
            return shadowing(rollout, seen, now)
        case Phase.STEPPING | Phase.BAKING:
            return with_traffic(rollout, seen, now)
        case Phase.QUEUED:
            return Hold("waits for the end of the rollout that is open")
        case _:
            return Hold(f"the rollout has ended: {rollout.phase}")
