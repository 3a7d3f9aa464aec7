"""Two stacks in one account, a stack's end, and messages that can't be worked on."""

import json
from datetime import timedelta

from chalicelib.domain.rollout import Phase
from tests.aws.aws_world import World, rollouts, versions
from tests.aws.stack import Stack
from tests.fakes_artifacts import small_mar


def promoted(stack: Stack) -> bool:
    return any(rollout.phase == Phase.PROMOTED for rollout in rollouts(stack))


def endpoints(world: World) -> dict[str, str]:
    """Return the status of each SageMaker endpoint there is by its name."""
    return {endpoint.name: endpoint.status for endpoint in world.aws.hosting.endpoints()}


def things(world: World) -> list[str]:
    """Return the ARNs of all that hosting costs or leaves: endpoints, their configs, models."""
    return [thing.arn for kind in world.aws.hosting.things.values() for thing in kind.values()]


def endpoint_events(stack: Stack) -> list[str]:
    """Return the status in each event of SageMaker's that a function was given, each once, in order."""
    events = [content["detail"] for _, content in stack.delivered if content.get("source") == "aws.sagemaker"]
    return list(dict.fromkeys(detail["EndpointStatus"] for detail in events))


def test_an_endpoint_that_gets_ready_wakes_its_rollout(world: World) -> None:
    stack = world.stack()
    stack.put("digits/1/model.mar", small_mar())
    stack.run(lambda: any(status == "InService" for status in endpoints(world).values()))
    stack.settle()
    assert endpoint_events(stack) == ["CREATING", "IN_SERVICE"]
    assert promoted(stack)


def test_two_stacks_of_one_account_never_meet(world: World) -> None:
    one, other = world.stack(name="one"), world.stack(name="other")
    assert one.prefix != other.prefix
    one.put("digits/1/model.mar", small_mar())
    one.run(lambda: promoted(one))
    assert endpoint_events(one)
    other.schedule()
    assert other.deliver() == 0
    assert not versions(other)
    assert not rollouts(other)
    assert all(name.startswith(f"{one.prefix}-") for name in endpoints(world))
    other.put("digits/1/model.mar", small_mar())
    other.now = one.now
    other.run(lambda: promoted(other))
    assert len(endpoints(world)) == 2
    while other.delete()["Status"] != "SUCCESS":
        other.now += timedelta(minutes=2)
    assert all(name.startswith(f"{one.prefix}-") for name in endpoints(world))
    assert set(endpoints(world).values()) == {"InService"}
    assert not [*one.failures, *other.failures]


def test_deleting_a_stack_leaves_nothing_running(world: World) -> None:
    stack = world.stack()
    stack.put("digits/1/model.mar", small_mar())
    stack.run(lambda: promoted(stack))
    assert things(world)
    answer = stack.delete()
    assert answer["Status"] == "FAILED"
    assert "still there" in answer["Reason"]
    stack.now += timedelta(minutes=5)
    while stack.delete()["Status"] != "SUCCESS":
        stack.now += timedelta(minutes=2)
    assert not things(world)


def test_deleting_a_stack_without_models_takes_one_call(world: World) -> None:
    assert world.stack().delete()["Status"] == "SUCCESS"


def test_a_message_that_always_fails_is_parked_after_five_times(world: World) -> None:
    stack = world.stack()
    broken = json.dumps({"wake_up": "dance:digits/1/"})
    stack.client("sqs").send_message(QueueUrl=stack.physical("UploadsQueue"), MessageBody=broken)
    stack.put("digits/1/model.mar", small_mar())
    stack.run(lambda: promoted(stack))
    dead = stack.client("sqs").receive_message(QueueUrl=stack.physical("UploadsDead"))["Messages"]
    assert [message["Body"] for message in dead] == [broken]
    assert len([1 for _, content in stack.delivered if content == json.loads(broken)]) == 5
