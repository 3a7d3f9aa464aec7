"""Vertex AI custom containers: the environment says where health and predict are."""

from modelserver.contracts import HealthRoute, PredictRoute, Route, oci
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    return [HealthRoute(settings.health_route), PredictRoute(settings.predict_route, oci.parse)]
