"""SageMaker's models, endpoint configs and endpoints, one by one: each looked up before it is made or deleted.

Its creates are not idempotent: a second one of the same name is a ValidationException, also when the first one's
answer got lost. So each is describe, create, and on ValidationException describe again; what is found is ours only if
its tags say so. A name that isn't there is a ValidationException too (`is_missing`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from chalicelib.adapters.errors import code_of, message_of
from chalicelib.adapters.sagemaker_clients import Clients, is_invalid, is_missing
from chalicelib.adapters.sagemaker_names import carries
from chalicelib.domain.errors import Rejected

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        CreateEndpointConfigInputTypeDef,
        CreateModelInputTypeDef,
        DescribeEndpointOutputTypeDef,
        TagTypeDef,
    )

T = TypeVar("T")


def or_none(describe: Callable[[], T]) -> T | None:
    """Return what is described; None when it isn't there."""
    try:
        return describe()
    except ClientError as error:
        if is_missing(error):
            return None
        raise


@dataclass(frozen=True)
class Things:
    clients: Clients

    def endpoint(self, name: str) -> "DescribeEndpointOutputTypeDef | None":
        return or_none(lambda: self.clients.sagemaker.describe_endpoint(EndpointName=name))

    def config(self, name: str) -> str:
        """Return an endpoint config's ARN; "" when it isn't there."""
        found = or_none(lambda: self.clients.sagemaker.describe_endpoint_config(EndpointConfigName=name))
        return found["EndpointConfigArn"] if found else ""

    def model(self, name: str) -> str:
        """Return a model's ARN; "" when it isn't there."""
        found = or_none(lambda: self.clients.sagemaker.describe_model(ModelName=name))
        return found["ModelArn"] if found else ""

    def tags(self, arn: str) -> dict[str, str] | None:
        """Return a thing's tags; None when it is gone."""
        pages = self.clients.sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
        return or_none(lambda: {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]})

    # --- making ----------------------------------------------------------------------------------------------------
    def make_model(self, request: "CreateModelInputTypeDef", tags: Mapping[str, str]) -> None:
        name = request["ModelName"]
        self._make(lambda: self.model(name), lambda: self.clients.sagemaker.create_model(**request), tags)

    def make_config(self, request: "CreateEndpointConfigInputTypeDef", tags: Mapping[str, str]) -> None:
        name = request["EndpointConfigName"]
        self._make(lambda: self.config(name), lambda: self.clients.sagemaker.create_endpoint_config(**request), tags)

    def make_endpoint(self, name: str, tag_list: "list[TagTypeDef]", tags: Mapping[str, str]) -> None:
        def arn() -> str:
            found = self.endpoint(name)
            return found["EndpointArn"] if found else ""

        def create() -> None:
            self.clients.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tag_list)

        self._make(arn, create, tags)

    def _make(self, arn: Callable[[], str], create: Callable[[], Any], tags: Mapping[str, str]) -> None:
        """Make it unless it is there; raises Rejected for what isn't ours and for what SageMaker refuses."""
        found = arn()
        if not found:
            try:
                create()
            except ClientError as error:
                found = arn() if is_invalid(error) else ""
                if not found:
                    raise refusal(error) from error
        if found:
            self.must_carry(found, tags)

    def must_carry(self, arn: str, tags: Mapping[str, str]) -> None:
        """Raise Rejected unless the tags are there: a name that another has taken isn't ours to use or to end."""
        found = self.tags(arn)
        if found is not None and not carries(found, tags):
            other = sorted(key for key, value in tags.items() if found.get(key) != value)
            raise Rejected(
                f"{arn} is there but not ours: its tags {', '.join(other)} are other ones; delete or rename it",
                code="name_taken",
            )

    # --- ending ----------------------------------------------------------------------------------------------------
    def end_endpoint(self, name: str) -> None:
        """Have it deleted, which lasts; one that is in progress is refused now and left for later."""
        try:
            self.clients.sagemaker.delete_endpoint(EndpointName=name)
        except ClientError as error:
            if not is_invalid(error) or self._is_settled(name):
                raise

    def end_config(self, name: str) -> None:
        or_none(lambda: self.clients.sagemaker.delete_endpoint_config(EndpointConfigName=name))

    def end_model(self, name: str) -> None:
        or_none(lambda: self.clients.sagemaker.delete_model(ModelName=name))

    def resize(self, name: str, variant: str, instances: int) -> None:
        """Ask for another number of instances; one that is in progress is left for later."""
        try:
            self.clients.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=name,
                DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": instances}],
            )
        except ClientError as error:
            if not is_invalid(error) or self._is_settled(name):
                raise

    def _is_settled(self, name: str) -> bool:
        found = self.endpoint(name)
        return found is not None and found["EndpointStatus"] in {"InService", "Failed", "OutOfService"}

    # --- listing ---------------------------------------------------------------------------------------------------
    def arns(self, prefix: str, before: datetime | None = None) -> dict[str, str]:
        """Return an ARN for each name with a prefix: of its endpoint, else its config, else its model."""
        found = chain(self._models(prefix), self._configs(prefix), self._endpoints(prefix))
        return {name: arn for name, arn, made in found if name.startswith(prefix) and (not before or made < before)}

    def _models(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        for page in self.clients.sagemaker.get_paginator("list_models").paginate(NameContains=prefix):
            yield from ((m["ModelName"], m["ModelArn"], m["CreationTime"]) for m in page["Models"])

    def _configs(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        pages = self.clients.sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=prefix)
        for page in pages:
            for c in page["EndpointConfigs"]:
                yield c["EndpointConfigName"], c["EndpointConfigArn"], c["CreationTime"]

    def _endpoints(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        for page in self.clients.sagemaker.get_paginator("list_endpoints").paginate(NameContains=prefix):
            yield from ((e["EndpointName"], e["EndpointArn"], e["CreationTime"]) for e in page["Endpoints"])


class Awaited(Exception):
    """SageMaker doesn't find yet what was made just now: ask again at the next wake-up."""


def refusal(error: ClientError) -> Exception:
    """Return what a refused create means to us: not yet, never, or a bug to be retried."""
    said = message_of(error)
    if is_missing(error):
        return Awaited(said)
    if is_invalid(error):
        return Rejected(f"SageMaker refuses it: {said}", code="fleet_refused")
    if code_of(error) == "ResourceLimitExceeded":
        return Rejected(f"the account's quota is used up: {said}; ask AWS for more", code="over_quota")
    return error
