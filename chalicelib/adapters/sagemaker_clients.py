"""The clients that the fleet and the catalog work with, and what their errors mean.

Whoever wires them gives them bounded patience, and may give ones that are made when they are first used.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.adapters.errors import code_of, message_of

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient


@dataclass(frozen=True)
class Clients:
    sagemaker: "SageMakerClient"
    runtime: "SageMakerRuntimeClient"  # for looks at a replica: a busy one is looked at again later
    scaling: "ApplicationAutoScalingClient"


def is_missing(error: ClientError) -> bool:
    """Tell whether SageMaker says that something isn't there, which has no code of its own."""
    return is_invalid(error) and message_of(error).startswith("Could not find")


def is_invalid(error: ClientError) -> bool:
    """Tell whether SageMaker refuses the call in the state that things are in: taken, in progress, not allowed."""
    return code_of(error) == "ValidationException"
