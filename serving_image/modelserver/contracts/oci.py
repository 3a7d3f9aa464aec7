"""OCI Data Science: POST /predict with any JSON document. Vertex has the same path, so `instances` tells them apart."""

from modelserver.codec import loads
from modelserver.contracts import Call, instances, native
from modelserver.errors import RequestError
from modelserver.formats import Model
from modelserver.messages import Request


def parse(model: Model, request: Request) -> Call:
    """A whole document for a model that takes any, unless it is `{"instances": [...]}`; instances for all others."""
    if model.takes_documents and not _has_instances(request.body):
        return native.parse(model, request)
    return instances.parse(model, request)


def _has_instances(body: bytes) -> bool:
    try:
        document = loads(body)
    except RequestError:
        return False
    return isinstance(document, dict) and isinstance(document.get("instances"), list)
