"""What an open rollout still needs, at the rate of requests that its endpoint had of late."""

from dataclasses import dataclass
from typing import Any

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.needs import Need, needs, needs_in_words
from chalicelib.domain.rollout import Rollout
from chalicelib.pipeline.ports import Ports


@dataclass(frozen=True)
class Forecast:
    """Requests a second, None where they aren't known, and what each step from the present one on needs."""

    rate: float | None
    needs: tuple[Need, ...]

    @property
    def in_words(self) -> str:
        return needs_in_words(self.needs, self.rate)

    @property
    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"requests_per_second": self.rate, "needs": [_view(need) for need in self.needs]}


def forecast(endpoint: Endpoint, rollout: Rollout, ports: Ports) -> Forecast:
    rate = rate_of(endpoint, ports)
    return Forecast(rate, needs(rollout, rate))


def rate_of(endpoint: Endpoint, ports: Ports) -> float | None:
    """Return how many requests a second an endpoint had of late; None where nobody counted them."""
    rates = [ports.metrics.rate(deployment) for deployment, weight in endpoint.split.weights.items() if weight]
    known = [rate for rate in rates if rate is not None]
    return round(sum(known), 4) if known else None


def _view(need: Need) -> dict[str, Any]:
    seconds = need.time.total_seconds() if need.time else None
    return {
        "weight": need.weight,
        "canary_requests": need.canary_requests,
        "endpoint_requests": need.endpoint_requests,
        "seconds": seconds,
    }
