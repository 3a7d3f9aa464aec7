"""What an open rollout still needs, in words."""

from datetime import timedelta

from chalicelib.domain.needs import Need, in_minutes, needs_in_words
from chalicelib.local.cli.output import Json


def ahead(r: Json) -> str:
    """Return what its steps need from the present one on, and how long that takes; "" where nothing is judged."""
    return needs_in_words([_need(each) for each in r["needs"]], r["requests_per_second"])


def still_needed(r: Json) -> str:
    """Return how many canary requests the verdict misses, and how long they take at this weight; "" when none."""
    needed, rate = r["judgement"]["samples_needed"], r["requests_per_second"]
    if not needed:
        return ""
    if not rate or not r["weight"]:
        never = ", never at this rate" if rate == 0 else ""
        return f" (needs {needed} more canary requests{never})"
    time = in_minutes(timedelta(seconds=needed / (rate * r["weight"] / 100)))
    return f" (needs {needed} more canary requests, about {time} at {rate:.2g} requests a second)"


def _need(each: Json) -> Need:
    time = timedelta(seconds=each["seconds"]) if each["seconds"] is not None else None
    return Need(each["weight"], each["canary_requests"], each["endpoint_requests"], time)
