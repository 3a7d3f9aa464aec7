"""Application Auto Scaling of the fake: see fakes_sagemaker."""

from dataclasses import dataclass, field

from tests.fakes_sagemaker_hosting import Hosting
from tests.fakes_sagemaker_words import ACCOUNT, Refused, invalid

_ALIVE = {"DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False, "ScheduledScalingSuspended": False}


@dataclass
class Scaling:
    """`acts_at_once`: a raised least changes the number of instances without waiting for an alarm."""

    hosting: Hosting
    acts_at_once: bool = False
    targets: dict[str, dict] = field(default_factory=dict)  # by resource id
    policies: dict[tuple[str, str], dict] = field(default_factory=dict)  # by resource id and name

    def register_scalable_target(self, asked: dict) -> dict:
        """What isn't said stays as it was, as AWS documents."""
        endpoint = self._endpoint(asked)
        before = self.targets.get(asked["ResourceId"], {"SuspendedState": _ALIVE})
        suspended = {**before["SuspendedState"], **asked.get("SuspendedState", {})}
        target = {
            **before,
            **asked,
            "SuspendedState": suspended,
            "CreationTime": 0,
            "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/aws",
        }
        if not {"MinCapacity", "MaxCapacity"} <= set(target):
            raise invalid("MinCapacity and MaxCapacity are required to register a new scalable target")
        least, most = target["MinCapacity"], target["MaxCapacity"]
        if most < least:
            raise invalid("Maximum capacity cannot be less than minimum capacity")
        self.targets[asked["ResourceId"]] = target
        self.hosting.limits[endpoint.name] = (least, most)
        if self.acts_at_once and endpoint.desired < least:
            self.hosting.resize(endpoint, least)
        return {"ScalableTargetARN": f"arn:aws:application-autoscaling:us-east-1:{ACCOUNT}:scalable-target/x"}

    def describe_scalable_targets(self, asked: dict) -> dict:
        ids = asked.get("ResourceIds", list(self.targets))
        return {"ScalableTargets": [self.targets[each] for each in ids if each in self.targets]}

    def deregister_scalable_target(self, asked: dict) -> None:
        """Its policies go with it, as AWS documents."""
        self._target(asked)
        del self.targets[asked["ResourceId"]]
        self.hosting.limits.pop(_endpoint_name(asked), None)
        self.policies = {key: each for key, each in self.policies.items() if key[0] != asked["ResourceId"]}

    def put_scaling_policy(self, asked: dict) -> dict:
        self._target(asked)
        arn = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:scalingPolicy:x:policyName/{asked['PolicyName']}"
        self.policies[asked["ResourceId"], asked["PolicyName"]] = {**asked, "PolicyARN": arn, "CreationTime": 0}
        return {"PolicyARN": arn, "Alarms": []}

    def describe_scaling_policies(self, asked: dict) -> dict:
        names = asked.get("PolicyNames")
        found = [
            p for (at, name), p in self.policies.items() if at == asked["ResourceId"] and (not names or name in names)
        ]
        return {"ScalingPolicies": found}

    def delete_scaling_policy(self, asked: dict) -> None:
        if self.policies.pop((asked["ResourceId"], asked["PolicyName"]), None) is None:
            raise Refused("ObjectNotFoundException", f"No scaling policy named {asked['PolicyName']} found")

    def _target(self, asked: dict) -> dict:
        if asked["ResourceId"] not in self.targets:
            raise Refused(
                "ObjectNotFoundException",
                f"No scalable target registered for service namespace: {asked['ServiceNamespace']}, resource ID: "
                f"{asked['ResourceId']}, scalable dimension: {asked['ScalableDimension']}",
            )
        return self.targets[asked["ResourceId"]]

    def _endpoint(self, asked: dict):
        """Return the endpoint that is in service. (AWS refuses others; the words are ours.)"""
        name = _endpoint_name(asked)
        found = next((e for e in self.hosting.endpoints() if e.name == name), None)
        if not found or found.status != "InService":
            raise invalid(f"SageMaker endpoint {name} isn't in service: it is {found.status if found else 'not there'}")
        return found


def _endpoint_name(asked: dict) -> str:
    _, name, _, _ = asked["ResourceId"].split("/")
    return name
