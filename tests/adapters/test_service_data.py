"""What is read faster is the same as botocore reads."""

import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import create_loader

from chalicelib.adapters.service_data import ServiceData

SERVICES = ("dynamodb", "events", "s3", "sagemaker", "scheduler", "sqs")


@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"])
@pytest.mark.parametrize("service", ["dynamodb", "s3", "sagemaker"])
def test_a_services_data_is_what_botocore_reads(service, kind):
    ours = ServiceData(SERVICES).load_service_model(service, kind)
    theirs = create_loader().load_service_model(service, kind)
    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["endpoints", "partitions", "sdk-default-configuration", "_retry"])
def test_what_all_services_share_is_what_botocore_reads(name):
    assert ServiceData(SERVICES).load_data(name) == create_loader().load_data(name)


def test_a_service_that_nobody_named_is_unknown():
    with pytest.raises(UnknownServiceError, match="ec2"):
        ServiceData(SERVICES).load_service_model("ec2", "service-2")
