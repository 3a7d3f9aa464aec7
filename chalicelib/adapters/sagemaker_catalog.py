"""The Model Registry of SageMaker: people of AWS find a version where they look for models (ports.Catalog).

One package group a model, one package a version and digest, with its approval status. CreateModelPackage isn't
idempotent, each call makes another version, so a package is looked for before one is made. What a package describes
can't be changed later and a listing tells it, so only candidates are opened; what their metadata say, counts.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from chalicelib.adapters.errors import code_of
from chalicelib.adapters.sagemaker_clients import is_invalid
from chalicelib.adapters.sagemaker_names import carries, group_name, group_tags
from chalicelib.adapters.sagemaker_requests import tag_list
from chalicelib.domain.catalog import Approval, CatalogEntry
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import VersionRef

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType
    from mypy_boto3_sagemaker.type_defs import (
        CreateModelPackageInputTypeDef,
        DescribeModelPackageOutputTypeDef,
        InferenceSpecificationTypeDef,
        ModelPackageContainerDefinitionTypeDef,
    )

VERSION, DIGEST, FORMAT = "modeldrop:version", "modeldrop:digest", "modeldrop:format"
_STATUS: "Final[dict[Approval, ModelApprovalStatusType]]" = {
    Approval.PENDING: "PendingManualApproval",
    Approval.APPROVED: "Approved",
    Approval.REJECTED: "Rejected",
}


@dataclass(frozen=True)
class ModelRegistryCatalog:
    """`image` is what serves the packages; "" leaves that unsaid."""

    client: "SageMakerClient"
    stack: str
    store: str  # bucket
    image: str = ""

    def put(self, entry: CatalogEntry) -> None:
        """Make or renew a version's package; raises Rejected (`name_taken`) when its group isn't ours."""
        group = self._group(entry.ref)
        found = self._package(group, entry)
        if not found:
            self._make(group, entry)
        elif found.get("ModelApprovalStatus") != _STATUS[entry.approval]:
            self._approve(found["ModelPackageArn"], entry)

    # --- the group -------------------------------------------------------------------------------------------------
    def _group(self, ref: VersionRef) -> str:
        name, tags = group_name(self.stack, ref.model_id), group_tags(self.stack, ref)
        arn = self._group_arn(name)
        if not arn:
            try:
                self.client.create_model_package_group(
                    ModelPackageGroupName=name,
                    ModelPackageGroupDescription=f"Versions of {ref.model_id} in Modeldrop",
                    Tags=tag_list(tags),
                )
            except ClientError as error:
                arn = self._group_arn(name) if is_invalid(error) else ""
                if not arn:
                    raise
        if arn and not carries(self._tags(arn), tags):
            raise Rejected(f"{arn} is there but not ours: its tags are other ones; delete it", code="name_taken")
        return name

    def _group_arn(self, name: str) -> str:
        """Return a group's ARN; "" when it isn't there (a ValidationException: the name is legal by its making)."""
        try:
            return self.client.describe_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
        except ClientError as error:
            if is_invalid(error):
                return ""
            raise

    def _tags(self, arn: str) -> dict[str, str]:
        pages = self.client.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    # --- its packages ----------------------------------------------------------------------------------------------
    def _package(self, group: str, entry: CatalogEntry) -> "DescribeModelPackageOutputTypeDef | None":
        for arn in self._candidates(group, entry):
            found = self.client.describe_model_package(ModelPackageName=arn)
            if carries(found.get("CustomerMetadataProperties", {}), _metadata(entry)):
                return found
        return None

    def _candidates(self, group: str, entry: CatalogEntry) -> Iterator[str]:
        pages = self.client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        for page in pages:
            for package in page["ModelPackageSummaryList"]:
                if package.get("ModelPackageDescription") == _description(entry):
                    yield package["ModelPackageArn"]

    def _make(self, group: str, entry: CatalogEntry) -> None:
        try:
            self.client.create_model_package(**self._request(group, entry))
        except ClientError as error:
            # Another made it by the same token in this moment.
            if code_of(error) != "ConflictException" or not self._package(group, entry):
                raise

    def _request(self, group: str, entry: CatalogEntry) -> "CreateModelPackageInputTypeDef":
        return {
            "ModelPackageGroupName": group,
            "ModelPackageDescription": _description(entry),
            "ModelApprovalStatus": _STATUS[entry.approval],
            "CustomerMetadataProperties": _metadata(entry),
            "InferenceSpecification": self._served(entry),
            "ClientToken": hashlib.sha256(f"{group}\0{_description(entry)}".encode()).hexdigest()[:32],
        }

    def _served(self, entry: CatalogEntry) -> "InferenceSpecificationTypeDef":
        container: ModelPackageContainerDefinitionTypeDef = {
            "ModelDataSource": {
                "S3DataSource": {
                    "S3Uri": f"s3://{self.store}/{entry.store_prefix}",
                    "S3DataType": "S3Prefix",
                    "CompressionType": "None",
                }
            }
        }
        if self.image:
            container["Image"] = self.image
        json = ["application/json"]
        return {"Containers": [container], "SupportedContentTypes": json, "SupportedResponseMIMETypes": json}

    def _approve(self, arn: str, entry: CatalogEntry) -> None:
        self.client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=_STATUS[entry.approval])


def _metadata(entry: CatalogEntry) -> dict[str, str]:
    return {VERSION: str(entry.ref), DIGEST: entry.digest, FORMAT: str(entry.format)}


def _description(entry: CatalogEntry) -> str:
    return f"{entry.ref} {entry.digest}"
