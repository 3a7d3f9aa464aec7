"""When a stack is deleted nothing of it goes on running, and CloudFormation is told so, or told why not."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aws_lambda_powertools import Logger

from chalicelib import stack_hook
from chalicelib.domain.deployment import FleetState, Running
from tests.aws import response_server
from tests.fakes_pipeline import FakeClock, FakeFleet, fake_ports

EVENTS = Path(__file__).parents[2] / "events"


def event(name: str) -> dict:
    return json.loads((EVENTS / f"custom-resource-{name}.json").read_text())


@dataclass
class SlowFleet(FakeFleet):
    """Deployments go only when they were asked `patience` times, as SageMaker refuses while it creates."""

    patience: int = 3
    asked: dict[str, int] = field(default_factory=dict)

    def stop(self, deployment_id: str) -> None:
        self.asked[deployment_id] = self.asked.get(deployment_id, 0) + 1
        if self.asked[deployment_id] >= self.patience:
            super().stop(deployment_id)


def running(patience: int = 3) -> SlowFleet:
    return SlowFleet(
        running={"v1-a": Running(FleetState.READY), "v2-b": Running(FleetState.STARTING)}, patience=patience
    )


def answered(told: dict, fleet: FakeFleet, time_left: int = 900) -> dict:
    """Answer an event with a clock that only sleeping moves."""
    left = [time_left * 1000]

    def sleep(seconds: float) -> None:
        left[0] -= int(seconds * 1000)

    without_url = {k: v for k, v in told.items() if k != "ResponseURL"}
    ports = fake_ports(fleet=fleet, clock=FakeClock())
    return stack_hook.answer(without_url, ports, remaining=lambda: left[0], logger=Logger(service="t"), sleep=sleep)


def test_a_deletion_ends_everything_however_long_that_takes():
    fleet = running()
    told = answered(event("delete"), fleet)
    assert (told["Status"], told["Reason"], fleet.running) == ("SUCCESS", "nothing is left", {})
    assert told["RequestId"] == event("delete")["RequestId"]


def test_what_an_invocation_still_starts_while_all_is_ended_is_ended_too():
    fleet = running(patience=1)
    stopped = fleet.stop

    def stop(deployment_id: str) -> None:
        stopped(deployment_id)
        if not fleet.running and "late" not in fleet.asked:
            fleet.running["late"] = Running(FleetState.STARTING)

    fleet.stop = stop
    assert answered(event("delete"), fleet)["Status"] == "SUCCESS"
    assert fleet.asked == {"v1-a": 1, "v2-b": 1, "late": 1}


def test_what_cannot_be_ended_in_time_is_named_and_the_deletion_fails():
    told = answered(event("delete"), running(patience=1000))
    assert told["Status"] == "FAILED"
    assert told["Reason"] == "still there: v1-a, v2-b; delete the stack again in some minutes"


@pytest.mark.parametrize("request_type", ["create", "update"])
def test_a_creation_or_an_update_touches_nothing(request_type):
    fleet = running()
    assert answered(event(request_type), fleet)["Status"] == "SUCCESS"
    assert len(fleet.running) == 2


def test_a_person_may_end_everything_without_a_stack():
    fleet = running()
    assert answered({"RequestType": "Delete"}, fleet)["Status"] == "SUCCESS"
    assert fleet.running == {}


@pytest.fixture
def cloudformation(tmp_path, monkeypatch):
    """A real HTTPS server where CloudFormation would wait for the answer."""
    with response_server.cloudformation(tmp_path, FakeClock()().replace(year=2026)) as waiting:
        monkeypatch.setenv("SSL_CERT_FILE", str(waiting.ca))
        yield waiting.url, waiting.received


def test_the_answer_is_put_to_the_url_that_cloudformation_gave(cloudformation):
    url, received = cloudformation
    ports = fake_ports(fleet=FakeFleet(), clock=FakeClock())
    asked = event("delete") | {"ResponseURL": url}
    told = stack_hook.answer(asked, ports, remaining=lambda: 900_000, logger=Logger(service="t"), sleep=lambda _: None)
    assert received == [("/answer?signature=x", "", told)]


def test_an_answer_is_sent_over_https_only():
    asked = event("create") | {"ResponseURL": "file:///etc/passwd"}
    with pytest.raises(ValueError, match="isn't HTTPS"):
        stack_hook.answer(asked, fake_ports(), remaining=lambda: 900_000, logger=Logger(service="t"))
