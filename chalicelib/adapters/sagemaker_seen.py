"""What SageMaker's word on an endpoint means to us: pure. Its status alone is never believed.

An endpoint is READY only when it runs the config that was asked for; which bytes it serves, only the container can say.
It serves through `Updating`, `SystemUpdating` and `RollingBack`, which an endpoint that exists passes through when its
instance count changes or AWS maintains it (AWS's API reference, EndpointSummary).
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain.deployment import FleetState, Running

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

_LONGEST_START = timedelta(hours=1)  # the platform gives up before: what is longer was a later change
SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})
# What SageMaker won't delete or resize now.
IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
_NO_ROOM = ("InsufficientInstanceCapacity", "InsufficientCapacity", "ResourceLimitExceeded", "compute capacity")


def seen(endpoint: "DescribeEndpointOutputTypeDef", *, config: str, most: int) -> Running:
    """Return what an endpoint is, without the digest."""
    status = endpoint["EndpointStatus"]
    if status == "Creating":
        return Running(FleetState.STARTING)
    if status == "Deleting":
        return Running(FleetState.STOPPING)
    if status not in SERVING:
        return Running(FleetState.FAILED, reason=_failure(endpoint), by_fleet=_lacks_room(endpoint))
    if endpoint.get("EndpointConfigName") != config:
        other = f"{status} with endpoint config {endpoint.get('EndpointConfigName')}, not {config}"
        return Running(FleetState.FAILED, reason=other, by_fleet=True, drifted=True)
    return _serving(endpoint, most)


def instances(endpoint: "DescribeEndpointOutputTypeDef") -> tuple[int, int]:
    """Return how many instances its variant has and how many are asked for."""
    for variant in endpoint.get("ProductionVariants", []):
        return variant.get("CurrentInstanceCount", 0), variant.get("DesiredInstanceCount", 0)
    return 0, 0


def log_group(name: str) -> str:
    return f"/aws/sagemaker/Endpoints/{name}"


def _serving(endpoint: "DescribeEndpointOutputTypeDef", most: int) -> Running:
    ready, _ = instances(endpoint)
    return Running(FleetState.READY if ready else FleetState.STARTING, ready=ready, most=most, start_s=_took(endpoint))


def _took(endpoint: "DescribeEndpointOutputTypeDef") -> float:
    """Return how long its creation took; 0 where it was changed since, for SageMaker keeps the latest change only."""
    took = endpoint["LastModifiedTime"] - endpoint["CreationTime"]
    return took.total_seconds() if took < _LONGEST_START else 0.0


def _lacks_room(endpoint: "DescribeEndpointOutputTypeDef") -> bool:
    """Tell whether AWS had no instance for it: SageMaker has no code for that, only words."""
    said = endpoint.get("FailureReason", "")
    return any(word in said for word in _NO_ROOM)


def _failure(endpoint: "DescribeEndpointOutputTypeDef") -> str:
    said = endpoint.get("FailureReason") or f"SageMaker calls it {endpoint['EndpointStatus']} and gives no reason"
    return f"{said} (the model's own log: CloudWatch log group {log_group(endpoint['EndpointName'])})"
