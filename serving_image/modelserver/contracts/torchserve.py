"""TorchServe's inference API: POST /predictions/NAME."""

from modelserver.contracts import PredictRoute, Route, native
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    # `curl -T FILE`, which TorchServe's own examples use, sends PUT.
    return [PredictRoute(f"/predictions/{settings.model_name}", native.parse, methods=("POST", "PUT"))]
