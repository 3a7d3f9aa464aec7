"""OCI Data Science: POST /predict with any JSON document. Vertex has the same path, so `instances` tells them apart."""

from modelserver.codec import loads
from modelserver.contracts import Call, HealthRoute, PredictRoute, Route, instances, native
from modelserver.errors import RequestError
from modelserver.formats import Model
from modelserver.media import is_json
from modelserver.messages import Request
from modelserver.settings import Settings


def routes(settings: Settings) -> list[Route]:
    """MODEL_DEPLOY_PREDICT_ENDPOINT and MODEL_DEPLOY_HEALTH_ENDPOINT name what the service calls instead of its own."""
    return [HealthRoute(settings.oci_health_route), PredictRoute(settings.oci_predict_route, parse)]


def parse(model: Model, request: Request) -> Call:
    """A whole document for a model that takes any, unless it is `{"instances": [...]}`; instances for all others."""
    if model.takes_documents and not _has_instances(request):
        return native.parse(model, request)
    return instances.parse(model, request)


def _has_instances(request: Request) -> bool:
    if not is_json(request.headers):
        return False
    try:
        document = loads(request.body)
    except RequestError:
        return False
    return isinstance(document, dict) and isinstance(document.get("instances"), list)
