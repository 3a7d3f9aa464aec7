"""The Model Registry of the fake: see fakes_sagemaker."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tests.fakes_sagemaker_words import ACCOUNT, invalid


@dataclass
class Packages:
    """Nothing here is idempotent: each create_model_package makes another version, whatever its ClientToken."""

    clock: Callable[[], datetime]
    tags: dict[str, dict[str, str]]
    region: str
    page: int
    groups: dict[str, dict] = field(default_factory=dict)
    packages: dict[str, dict] = field(default_factory=dict)  # by ARN, oldest first

    def create_model_package_group(self, asked: dict) -> dict:
        name = asked["ModelPackageGroupName"]
        arn = self._arn("model-package-group", name)
        if name.lower() in self.groups:
            raise invalid(f"Model Package Group already exists: {arn}")
        made = {"CreationTime": self.clock().timestamp(), "ModelPackageGroupStatus": "Completed", "CreatedBy": {}}
        tags = asked.pop("Tags", [])
        self.groups[name.lower()] = {**asked, **made, "ModelPackageGroupArn": arn}
        self.tags[arn] = {tag["Key"]: tag["Value"] for tag in tags}
        return {"ModelPackageGroupArn": arn}

    def describe_model_package_group(self, asked: dict) -> dict:
        return self._group(asked["ModelPackageGroupName"])

    def create_model_package(self, asked: dict) -> dict:
        if "Tags" in asked:
            raise invalid("Tags are not supported for versioned model packages")
        group = self._group(asked["ModelPackageGroupName"])["ModelPackageGroupName"]
        number = 1 + sum(p["ModelPackageGroupName"] == group for p in self.packages.values())
        arn = self._arn("model-package", f"{group}/{number}")
        asked.pop("ClientToken", None)
        made = {"ModelPackageVersion": number, "CreationTime": self.clock().timestamp(), "ModelPackageArn": arn}
        status = {"ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []}}
        self.packages[arn] = {**asked, **made, **status, "ModelPackageGroupName": group, "ModelPackageName": group}
        return {"ModelPackageArn": arn}

    def describe_model_package(self, asked: dict) -> dict:
        return self._package(asked["ModelPackageName"])

    def update_model_package(self, asked: dict) -> dict:
        found = self._package(asked["ModelPackageArn"])
        found |= asked
        return {"ModelPackageArn": asked["ModelPackageArn"]}

    def list_model_packages(self, asked: dict) -> dict:
        group = self._group(asked["ModelPackageGroupName"])["ModelPackageGroupName"]
        found = [_summary(p) for p in self.packages.values() if p["ModelPackageGroupName"] == group]
        if asked.get("SortOrder", "Descending") == "Descending":
            found.reverse()
        start = int(asked.get("NextToken", 0))
        more = {"NextToken": str(start + self.page)} if start + self.page < len(found) else {}
        return {"ModelPackageSummaryList": found[start : start + self.page], **more}

    def _group(self, name: str) -> dict:
        if name.lower() not in self.groups:
            raise invalid(f"ModelPackageGroup {self._arn('model-package-group', name)} does not exist.")
        return self.groups[name.lower()]

    def _package(self, arn: str) -> dict:
        if arn not in self.packages:
            raise invalid(f"ModelPackage {arn} does not exist.")
        return self.packages[arn]

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{kind}/{name.lower()}"


def _summary(package: dict) -> dict:
    keys = (
        "ModelPackageGroupName",
        "ModelPackageVersion",
        "ModelPackageArn",
        "ModelPackageDescription",
        "CreationTime",
    )
    more = ("ModelPackageStatus", "ModelApprovalStatus")
    return {key: package[key] for key in (*keys, *more) if key in package}
