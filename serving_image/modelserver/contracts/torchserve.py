"""TorchServe's inference API: POST /predictions/NAME."""

from modelserver.contracts import PredictRoute, Route, native
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    return [PredictRoute(f"/predictions/{settings.model_name}", native.parse)]
