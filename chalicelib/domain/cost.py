"""What a rollout starts, said before it starts: instances, and the hours that two versions run side by side."""

from datetime import timedelta

from chalicelib.domain.rollout import Rollout

_HOUR = timedelta(hours=1)


def side_by_side(rollout: Rollout) -> timedelta:
    """Return the least time that the canary and what it replaces both run; nothing for a first version."""
    if not rollout.stable or rollout.recreates:
        return timedelta(0)
    judged = len([step for step in rollout.plan.steps if step < 100])  # noqa: PLR2004 - percent
    return judged * rollout.plan.step_time + rollout.plan.bake + rollout.plan.keep_warm


def instance_hours(rollout: Rollout) -> float:
    """Return the instance-hours that the rollout costs at least, beside what serves anyway."""
    return rollout.canary.resources.replicas * (side_by_side(rollout) / _HOUR)


def in_words(rollout: Rollout) -> str:
    """Return what is started and for how long, for the people who pay for it."""
    resources = rollout.canary.resources
    starts = f"starts {resources.replicas} x {resources.instance_type or 'replica'}"
    if not rollout.stable or rollout.recreates:
        return f"{starts}, which run until they are replaced"
    hours = f"{instance_hours(rollout):.2g} instance-hours"
    return f"{starts}, beside what serves for at least {side_by_side(rollout)} ({hours})"
