"""TorchServe's inference API: POST /predictions/NAME or /predictions/NAME/VERSION."""

from modelserver.contracts import PredictRoute, Route, native
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    # `curl -T FILE`, which TorchServe's own examples use, sends PUT.
    path = f"/predictions/{settings.model_name}"
    paths = (path, f"{path}/{settings.model_version}")
    return [PredictRoute(path, native.parse, methods=("POST", "PUT")) for path in paths]
