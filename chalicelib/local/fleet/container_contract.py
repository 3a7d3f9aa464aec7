"""What a custom container is told by its contract, and where it finds its model: pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.domain.formats.container_yaml import Container, Contract

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclass(frozen=True)
class Told:
    """How a container is started, besides its walls."""

    environment: Mapping[str, str]
    command: tuple[str, ...]  # instead of the image's entrypoint; none: that
    args: tuple[str, ...]


def told(container: Container, port: int, wished: Mapping[str, str]) -> Told:
    """Return what a container is told when it is to listen on a port.

    Of variables the contract's win over the deployment's, and those over container.yaml's. `$(NAME)` in command and
    args is replaced by a variable's value, as Vertex AI does it; `$$` is a dollar sign, an unknown name stays.
    """
    variables = {**container.environment, **wished, **_contract(container, port)}
    return Told(
        variables,
        tuple(expanded(word, variables) for word in container.command),
        tuple(expanded(word, variables) for word in container.args),
    )


def expanded(word: str, variables: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda m: variables.get(m[1], m[0]) if m[1] else "$", word)


def _contract(container: Container, port: int) -> dict[str, str]:
    model = container.terms.model
    match container.contract:
        case Contract.VERTEX:
            return {
                "AIP_MODE": "PREDICTION",
                "AIP_HTTP_PORT": str(port),
                "AIP_HEALTH_ROUTE": container.health_route,
                "AIP_PREDICT_ROUTE": container.predict_route,
                "AIP_STORAGE_URI": model,
            }
        case Contract.SAGEMAKER:
            return {
                "SAGEMAKER_BIND_TO_PORT": str(port),
                "SAGEMAKER_SAFE_PORT_RANGE": f"{port}-{port}",
                "SM_MODEL_DIR": model,
            }
        case Contract.OCI:
            return {
                "MODEL_DEPLOY_HEALTH_ENDPOINT": container.health_route,
                "MODEL_DEPLOY_PREDICT_ENDPOINT": container.predict_route,
            }
