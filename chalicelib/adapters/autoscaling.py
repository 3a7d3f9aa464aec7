"""How a deployment's instances follow its traffic: Application Auto Scaling on its one production variant.

A target is registered once its endpoint is in service, and only for a deployment whose bounds leave room. While a
rollout may need the room back, scaling in is suspended; scaling out never is. What is as it should be isn't written.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from chalicelib.adapters.errors import code_of
from chalicelib.adapters.sagemaker_clients import Clients

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling.type_defs import TargetTrackingScalingPolicyConfigurationOutputTypeDef

_DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
_NAMESPACE: Final = "sagemaker"
_POLICY = "modeldrop-requests-per-instance"
_SCALE_IN_COOLDOWN_S = 300
_SCALE_OUT_COOLDOWN_S = 60


@dataclass(frozen=True)
class Room:
    """Between how many instances a variant scales, and whether it may scale in."""

    least: int
    most: int
    may_scale_in: bool


@dataclass(frozen=True)
class VariantScaling:
    """Autoscaling of endpoints' variants; `target` is the requests that each instance should get a minute."""

    clients: Clients
    variant: str
    target: float

    def give(self, endpoint: str, room: Room) -> None:
        """Have the variant scale within the room. While it may not scale in, its least is never lowered either."""
        seen = self.room(endpoint)
        least = max(room.least, seen.least) if seen and not room.may_scale_in else room.least
        wanted = Room(min(least, room.most), room.most, room.may_scale_in)
        if seen != wanted:
            self._register(endpoint, wanted)
        if self._aim(endpoint) != self.target:
            self._follow(endpoint)

    def room(self, endpoint: str) -> Room | None:
        """Return what is registered for a variant; None when it doesn't scale."""
        answer = self.clients.scaling.describe_scalable_targets(
            ServiceNamespace=_NAMESPACE, ResourceIds=[self._id(endpoint)], ScalableDimension=_DIMENSION
        )
        for target in answer["ScalableTargets"]:
            suspended = target.get("SuspendedState", {}).get("DynamicScalingInSuspended", False)
            return Room(target["MinCapacity"], target["MaxCapacity"], not suspended)
        return None

    def end(self, endpoint: str) -> None:
        """Stop scaling; its policies go with it. Nothing happens when it doesn't scale."""
        try:
            self.clients.scaling.deregister_scalable_target(
                ServiceNamespace=_NAMESPACE, ResourceId=self._id(endpoint), ScalableDimension=_DIMENSION
            )
        except ClientError as error:
            if code_of(error) != "ObjectNotFoundException":
                raise

    def _register(self, endpoint: str, room: Room) -> None:
        self.clients.scaling.register_scalable_target(
            ServiceNamespace=_NAMESPACE,
            ResourceId=self._id(endpoint),
            ScalableDimension=_DIMENSION,
            MinCapacity=room.least,
            MaxCapacity=room.most,
            SuspendedState={
                "DynamicScalingInSuspended": not room.may_scale_in,
                "DynamicScalingOutSuspended": False,
                "ScheduledScalingSuspended": False,
            },
        )

    def _aim(self, endpoint: str) -> float | None:
        answer = self.clients.scaling.describe_scaling_policies(
            ServiceNamespace=_NAMESPACE,
            ResourceId=self._id(endpoint),
            ScalableDimension=_DIMENSION,
            PolicyNames=[_POLICY],
        )
        for policy in answer["ScalingPolicies"]:
            return _aim_of(policy.get("TargetTrackingScalingPolicyConfiguration"))
        return None

    def _follow(self, endpoint: str) -> None:
        self.clients.scaling.put_scaling_policy(
            PolicyName=_POLICY,
            ServiceNamespace=_NAMESPACE,
            ResourceId=self._id(endpoint),
            ScalableDimension=_DIMENSION,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": self.target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleInCooldown": _SCALE_IN_COOLDOWN_S,
                "ScaleOutCooldown": _SCALE_OUT_COOLDOWN_S,
            },
        )

    def _id(self, endpoint: str) -> str:
        return f"endpoint/{endpoint}/variant/{self.variant}"


def _aim_of(policy: "TargetTrackingScalingPolicyConfigurationOutputTypeDef | None") -> float | None:
    return policy["TargetValue"] if policy else None
