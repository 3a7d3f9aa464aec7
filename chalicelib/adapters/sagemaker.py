"""The fleet of AWS: one SageMaker model, endpoint config and endpoint of one name for each deployment (ports.Fleet).

Why one endpoint a version and not variants of one: the split is ours and applied per request, so the stable fleet is
never touched and a rollback is one write. Nothing here is believed because we asked for it: each call looks first, a
name is ours only by its tags, an endpoint is ready only with the config that was asked for, and the digest is what its
container answers. Each call returns soon and is safe to repeat from wherever the one before it ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from chalicelib.adapters import sagemaker_names as names
from chalicelib.adapters.autoscaling import Room, VariantScaling
from chalicelib.adapters.errors import code_of
from chalicelib.adapters.sagemaker_clients import Clients
from chalicelib.adapters.sagemaker_requests import VARIANT, Hosting, check, config_request, model_request, tag_list
from chalicelib.adapters.sagemaker_seen import IN_PROGRESS, instances, seen
from chalicelib.adapters.sagemaker_things import Awaited, Things
from chalicelib.domain.custom_attributes import DIGEST, PROBE, parse
from chalicelib.domain.deployment import ONE, Capacity, Deployment, FleetState, Running

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

_ABSENT = Running(FleetState.ABSENT)
# A replica that doesn't answer now is asked again at the next look; anything else is a bug.
_NO_ANSWER = {
    "ModelError", "ModelNotReadyException", "ServiceUnavailable", "InternalFailure", "InternalDependencyException",
    "ValidationError",
}  # fmt: skip


@dataclass(frozen=True)
class SageMakerFleet:
    """Runs the deployments of one stack; what carries another stack's tag, or none, is never touched."""

    hosting: Hosting
    clients: Clients

    def ensure(self, deployment: Deployment, capacity: Capacity = ONE) -> None:
        """Start it unless it is there, else give it the room.

        Raises Rejected: `past_bound` before anything is made, `name_taken`, `fleet_refused` or `over_quota` from
        SageMaker. What SageMaker doesn't find yet is left to the next call.
        """
        check(deployment, self.hosting)
        tags = names.deployment_tags(self.hosting.stack, deployment)
        found = self._things.endpoint(self._name(deployment.id))
        if found is None:
            self._start(deployment, tags)
        else:
            self._things.must_carry(found["EndpointArn"], tags)
            self._give_room(found, deployment, capacity)

    def observe(self, deployment_id: str) -> Running:
        name = self._name(deployment_id)
        found = self._things.endpoint(name)
        tags = self._things.tags(found["EndpointArn"]) if found else None
        if found is None or tags is None:
            return _ABSENT
        if not names.carries(tags, self._claim(deployment_id)):
            return Running(FleetState.FAILED, reason=f"endpoint {name} is there but not ours: its tags are other ones")
        running = seen(found, config=name, most=int(tags.get(names.MOST) or 0))
        return self._with_digest(running, name) if running.state is FleetState.READY else running

    def lacks(self, deployment: Deployment) -> str:
        """Say nothing beforehand: SageMaker knows its capacity only when it is asked, before any traffic is moved."""
        del deployment
        return ""

    def stop(self, deployment_id: str) -> None:
        """Delete the endpoint, and once it is gone its config and model; called again it goes on."""
        name = self._name(deployment_id)
        found = self._things.endpoint(name)
        if found is None:
            self._clear(name, deployment_id)
        elif self._is_ours(found["EndpointArn"], deployment_id) and found["EndpointStatus"] not in IN_PROGRESS:
            self._scaling.end(name)
            self._things.end_endpoint(name)

    def deployments(self, before: datetime | None = None) -> Sequence[str]:
        """Return the ids of all that is there, be it a model alone; with `before`, of what was made before then."""
        arns = self._things.arns(names.stack_prefix(self.hosting.stack), before)
        found = [self._things.tags(arn) or {} for arn in arns.values()]
        return sorted({t[names.DEPLOYMENT] for t in found if names.carries(t, self._stack) and names.DEPLOYMENT in t})

    # --- starting --------------------------------------------------------------------------------------------------
    def _start(self, deployment: Deployment, tags: Mapping[str, str]) -> None:
        name = self._name(deployment.id)
        try:
            self._things.make_model(model_request(name, deployment, self.hosting, tags), tags)
            self._things.make_config(config_request(name, deployment, self.hosting, tags), tags)
            self._things.make_endpoint(name, tag_list(tags), tags)
        except Awaited:
            return

    def _give_room(self, endpoint: "DescribeEndpointOutputTypeDef", deployment: Deployment, capacity: Capacity) -> None:
        """Scale within the deployment's bounds; a step's room is asked for at once and doesn't wait for an alarm."""
        if endpoint["EndpointStatus"] != "InService":
            return
        least, most = deployment.resources.replicas, deployment.resources.max_replicas
        wanted = max(least, min(capacity.at_least, most))
        if most > least:
            self._scaling.give(endpoint["EndpointName"], Room(wanted, most, capacity.may_scale_in))
        if instances(endpoint)[1] < wanted:
            self._things.resize(endpoint["EndpointName"], VARIANT, wanted)

    # --- looking ---------------------------------------------------------------------------------------------------
    def _with_digest(self, running: Running, name: str) -> Running:
        """Ask one of its replicas for the digest of the files that it loaded; "" when it doesn't say now."""
        try:
            answer = self.clients.runtime.invoke_endpoint(
                EndpointName=name, ContentType="application/json", CustomAttributes=PROBE, Body=b"{}"
            )
        except (ReadTimeoutError, ConnectTimeoutError):
            return replace(running, reason="it didn't say its digest in time")
        except ClientError as error:
            if code_of(error) in _NO_ANSWER:
                return replace(running, reason=f"it didn't say its digest: {error}")
            raise
        return replace(running, digest=parse(answer.get("CustomAttributes", "")).get(DIGEST, ""))

    # --- ending ----------------------------------------------------------------------------------------------------
    def _clear(self, name: str, deployment_id: str) -> None:
        config, model = self._things.config(name), self._things.model(name)
        if config and self._is_ours(config, deployment_id):
            self._things.end_config(name)
        if model and self._is_ours(model, deployment_id):
            self._things.end_model(name)

    # --- whose -----------------------------------------------------------------------------------------------------
    def _is_ours(self, arn: str, deployment_id: str) -> bool:
        return names.carries(self._things.tags(arn) or {}, self._claim(deployment_id))

    def _claim(self, deployment_id: str) -> dict[str, str]:
        return {**self._stack, names.DEPLOYMENT: deployment_id}

    @property
    def _stack(self) -> dict[str, str]:
        return {names.STACK: self.hosting.stack}

    def _name(self, deployment_id: str) -> str:
        return names.deployment_name(self.hosting.stack, deployment_id)

    @cached_property
    def _things(self) -> Things:
        return Things(self.clients)

    @cached_property
    def _scaling(self) -> VariantScaling:
        return VariantScaling(self.clients, VARIANT, self.hosting.requests_per_instance)
