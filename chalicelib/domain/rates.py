"""How many requests a second an endpoint takes: a token bucket as a value, so that nothing has to tick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """What was left at a moment, in seconds of any steady clock."""

    tokens: float
    at: float


@dataclass(frozen=True)
class Taken:
    """Whether the request may pass, what is left, and in how many seconds the next one may (0: now)."""

    allowed: bool
    bucket: Bucket
    retry_after: float = 0.0


def take(rate: float, bucket: Bucket | None, now: float) -> Taken:
    """Take one request from a bucket that fills by `rate` a second and holds a second's worth, at least one.

    None is a bucket that was never used: it is full. Refused requests cost nothing.
    """
    size = max(1.0, rate)
    tokens = size if bucket is None else min(size, bucket.tokens + max(0.0, now - bucket.at) * rate)
    if tokens >= 1.0:
        return Taken(allowed=True, bucket=Bucket(tokens - 1.0, now))
    return Taken(allowed=False, bucket=Bucket(tokens, now), retry_after=(1.0 - tokens) / rate)
