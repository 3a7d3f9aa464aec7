"""KServe V1 and TF Serving's REST row and column formats: POST /v1/models/NAME:predict."""

from modelserver.contracts import HealthRoute, PredictRoute, Route, instances
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    path = f"/v1/models/{settings.model_name}"
    return [HealthRoute(path), PredictRoute(f"{path}:predict", instances.parse)]
