"""What accompanies a prediction may fail without failing it; what is wrong with the code still shows."""

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from chalicelib.adapters.best_effort import best_effort

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "UpdateItem")


def raising(error):
    def act(*_, **__):
        raise error

    return act


@pytest.mark.parametrize("error", [THROTTLED, ConnectTimeoutError(endpoint_url="https://x")])
def test_what_aws_or_the_network_refuses_is_logged_and_forgotten(caplog, error):
    best_effort(raising(error), "counting")("v1", status=200)
    (line,) = caplog.records
    assert "counting failed" in line.message
    assert line.exc_info[1] is error


def test_a_bug_still_raises():
    with pytest.raises(KeyError):
        best_effort(raising(KeyError("x")), "counting")()


def test_what_works_is_done_with_all_it_was_given():
    seen = []
    best_effort(lambda *args, **named: seen.append((args, named)), "counting")("v1", status=200)
    assert seen == [(("v1",), {"status": 200})]
