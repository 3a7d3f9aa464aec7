"""The Model Registry's entries: one package a version and digest, however often it is asked for."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.adapters.sagemaker_catalog import ModelRegistryCatalog
from chalicelib.adapters.sagemaker_names import group_name
from chalicelib.domain.catalog import Approval, CatalogEntry
from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import ArtifactFormat
from chalicelib.domain.refs import VersionRef
from tests.fakes_sagemaker import Fault
from tests.fakes_sagemaker_words import Refused
from tests.fakes_sagemaker_world import world

STACK = "0123abcd"
ENTRY = CatalogEntry(
    VersionRef("digits", "v1"), "sha256:ab", ArtifactFormat.SAVED_MODEL, "digits/v1/x/", Approval.PENDING
)
CREATE = "CreateModelPackage"


@pytest.fixture
def at():
    return world()


@pytest.fixture
def catalog(at):
    return ModelRegistryCatalog(at.clients.sagemaker, STACK, "store", "image:1")


def version(name, **changes) -> CatalogEntry:
    return replace(ENTRY, ref=VersionRef("digits", name), **changes)


def statuses(at) -> list[str]:
    return [package["ModelApprovalStatus"] for package in at.aws.packages.packages.values()]


def test_a_version_becomes_a_package_of_its_models_group(at, catalog):
    catalog.put(ENTRY)
    (package,) = at.aws.packages.packages.values()
    assert package["ModelPackageGroupName"] == group_name(STACK, "digits")
    assert package["CustomerMetadataProperties"] == {
        "modeldrop:version": "digits/v1",
        "modeldrop:digest": "sha256:ab",
        "modeldrop:format": "saved_model",
    }
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["Image"] == "image:1"
    assert container["ModelDataSource"]["S3DataSource"]["S3Uri"] == "s3://store/digits/v1/x/"


def test_putting_it_again_makes_nothing_and_writes_nothing(at, catalog):
    catalog.put(ENTRY)
    before = at.done()
    catalog.put(ENTRY)
    assert at.done() == before


def test_only_its_approval_follows_what_becomes_of_it(at, catalog):
    for approval in Approval:
        catalog.put(replace(ENTRY, approval=approval))
    assert statuses(at) == ["Rejected"]
    assert at.done(CREATE, "UpdateModelPackage") == [CREATE, "UpdateModelPackage", "UpdateModelPackage"]


def test_each_version_and_each_digest_has_its_own_package_through_every_page(at, catalog):
    entries = [version(f"v{number}") for number in range(5)] + [version("v1", digest="sha256:cd")]
    for entry in [*entries, *entries]:
        catalog.put(entry)
    assert len(statuses(at)) == 6
    catalog.put(replace(entries[0], approval=Approval.APPROVED))
    assert statuses(at) == ["Approved", *["PendingManualApproval"] * 5]


def test_a_package_that_only_looks_like_ours_is_not_taken_for_it(at, catalog):
    catalog.put(ENTRY)
    (package,) = at.aws.packages.packages.values()
    package["CustomerMetadataProperties"] = {"modeldrop:digest": "sha256:other"}
    catalog.put(ENTRY)
    assert len(statuses(at)) == 2


@pytest.mark.parametrize("operation", ["CreateModelPackageGroup", CREATE])
def test_a_create_whose_answer_got_lost_is_found_by_the_next_call(at, catalog, operation):
    at.aws.lose_answer(operation)
    with pytest.raises(ReadTimeoutError):
        catalog.put(ENTRY)
    catalog.put(ENTRY)
    assert len(statuses(at)) == 1


def test_another_writer_of_the_same_moment_makes_no_second_package(at, catalog):
    at.aws.faults.append(Fault(CREATE, 1, after=True, error=Refused("ConflictException", "token in use")))
    catalog.put(ENTRY)
    assert len(statuses(at)) == 1


def test_a_conflict_about_something_else_is_raised(at, catalog):
    at.aws.faults.append(Fault(CREATE, 1, after=False, error=Refused("ConflictException", "something else")))
    with pytest.raises(ClientError, match="something else"):
        catalog.put(ENTRY)


def test_a_group_of_others_is_left_alone(at, catalog):
    at.clients.sagemaker.create_model_package_group(ModelPackageGroupName=group_name(STACK, "digits"))
    with pytest.raises(Rejected, match="is there but not ours") as caught:
        catalog.put(ENTRY)
    assert caught.value.code == "name_taken"
    assert statuses(at) == []


def test_two_stacks_have_groups_of_their_own(at, catalog):
    catalog.put(ENTRY)
    ModelRegistryCatalog(at.clients.sagemaker, "ffff0000", "store").put(ENTRY)
    assert len(at.aws.packages.groups) == 2
    assert len(statuses(at)) == 2
