"""SageMaker: GET /ping, POST /invocations."""

from modelserver.contracts import HealthRoute, PredictRoute, Route, native
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    del settings
    return [HealthRoute("/ping"), PredictRoute("/invocations", native.parse)]
