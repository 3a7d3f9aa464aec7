"""The fleet on SageMaker, where it lies, lingers, forgets and belongs to others."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.adapters.sagemaker_names import deployment_tags
from chalicelib.adapters.sagemaker_requests import config_request, model_request, tag_list
from chalicelib.domain.deployment import FleetState
from chalicelib.domain.errors import Rejected
from tests.fakes_sagemaker import EMPTY_FAILURE, NO_CAPACITY, NO_PING, SLOW, Fate, Fault
from tests.fakes_sagemaker_runtime import Answer
from tests.fakes_sagemaker_words import Refused
from tests.fakes_sagemaker_world import deployment, world

CREATES = ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


@pytest.fixture
def at():
    return world()


# --- starting ------------------------------------------------------------------------------------------------------
def test_a_config_that_is_not_found_yet_is_left_to_the_next_look(at):
    asked = deployment()
    at.fleet.ensure(asked)
    assert at.fleet.observe(asked.id).state is FleetState.ABSENT
    at.fleet.ensure(asked)
    assert at.fleet.observe(asked.id).state is FleetState.STARTING
    assert at.done(*CREATES) == [*CREATES, "CreateEndpoint"]


def test_a_slow_start_is_starting_all_the_while(at):
    at.aws.fate = lambda _: SLOW
    asked = deployment()
    at.started(asked, FleetState.STARTING)
    at.clock.tick(seconds=2999)
    assert at.fleet.observe(asked.id).state is FleetState.STARTING
    at.clock.tick(seconds=1)
    assert at.fleet.observe(asked.id).state is FleetState.READY


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        (NO_CAPACITY, "InsufficientInstanceCapacity"),
        (NO_PING, "did not pass the ping health check"),
        (EMPTY_FAILURE, "SageMaker calls it Failed and gives no reason"),
        (Fate(ends="OutOfService"), "SageMaker calls it OutOfService"),
    ],
)
def test_a_failure_says_its_reason_and_where_the_models_log_is(at, fate, said):
    at.aws.fate = lambda _: fate
    asked = deployment()
    reason = at.started(asked, FleetState.FAILED).reason
    assert said in reason
    assert f"CloudWatch log group /aws/sagemaker/Endpoints/{at.name(asked)}" in reason


def test_a_failed_one_is_let_lie_until_it_is_stopped(at):
    at.aws.fate = lambda _: NO_PING
    asked = deployment()
    at.started(asked, FleetState.FAILED)
    before = at.done()
    at.fleet.ensure(asked)
    assert at.done() == before
    at.fleet.stop(asked.id)
    assert at.fleet.observe(asked.id).state is FleetState.STOPPING
    at.fleet.ensure(asked)  # it is still being deleted
    at.clock.tick(seconds=90)
    at.aws.fate = lambda _: Fate()
    assert at.started(asked).digest == "sha256:v1"


def test_what_sagemaker_refuses_is_rejected_in_its_words(at):
    with pytest.raises(Rejected, match="Member must have length less than or equal to 1024") as caught:
        at.fleet.ensure(deployment(environment={"BIG": "x" * 1025}))
    assert caught.value.code == "fleet_refused"


def test_past_a_bound_nothing_is_asked(at):
    with pytest.raises(Rejected):
        at.fleet.ensure(deployment(replicas=99))
    assert at.aws.calls == []


# --- believing -----------------------------------------------------------------------------------------------------
def test_in_service_with_another_config_is_drift_and_not_ready(at):
    at.aws.fate = lambda _: Fate(config="md-old")
    asked = deployment()
    seen = at.started(asked, FleetState.FAILED)
    assert seen.reason == f"InService with endpoint config md-old, not {at.name(asked)}"
    assert seen.drifted


def test_an_update_by_hand_that_failed_changes_nothing_and_one_that_worked_is_seen(at):
    asked = deployment()
    at.started(asked)
    at.started(other := deployment("v2"))
    change = {"EndpointName": at.name(asked), "EndpointConfigName": at.name(other)}
    for ends, state in (("Failed", FleetState.READY), ("InService", FleetState.FAILED)):
        at.aws.hosting.update = Fate(seconds=60, ends=ends)
        at.clients.sagemaker.update_endpoint(**change)
        assert at.fleet.observe(asked.id).state is FleetState.READY  # it serves while it is updated
        at.clock.tick(seconds=60)
        assert at.fleet.observe(asked.id).state is state


def test_the_digest_is_what_the_container_answers(at):
    asked = deployment()
    assert at.started(asked).digest == "sha256:v1"
    at.aws.container = lambda _: Answer(b"", "version=digits/v1;digest=sha256:other")
    assert at.fleet.observe(asked.id).digest == "sha256:other"


@pytest.mark.parametrize(
    ("container", "said"),
    [
        (lambda _: Answer(b"out of memory", status=500), "Received server error (500)"),
        (lambda _: Answer(b"{}"), ""),  # an image that doesn't know our probe
    ],
)
def test_a_container_that_does_not_say_its_digest_has_none(at, container, said):
    asked = deployment()
    at.started(asked)
    at.aws.container = container
    seen = at.fleet.observe(asked.id)
    assert (seen.state, seen.digest) == (FleetState.READY, "")
    assert said in seen.reason


def test_a_container_that_is_busy_is_asked_again_later(at):
    asked = deployment()
    at.started(asked)
    at.aws.lose_answer("InvokeEndpoint")
    seen = at.fleet.observe(asked.id)
    assert (seen.digest, seen.reason) == ("", "it didn't say its digest in time")
    assert at.fleet.observe(asked.id).digest == "sha256:v1"


def test_the_probe_runs_no_model(at):
    asked, invoked = deployment(), []
    at.started(asked)
    at.aws.container = lambda call: invoked.append(call.attributes) or Answer(b"", "digest=sha256:v1")
    at.fleet.observe(asked.id)
    assert invoked == ["modeldrop-probe"]


# --- whose ---------------------------------------------------------------------------------------------------------
def foreign(at, asked, **tags):
    """Have someone else make an endpoint of our deployment's name."""
    theirs = {**deployment_tags("0123abcd", asked), **tags}
    name, host = at.name(asked), at.fleet.hosting
    at.clients.sagemaker.create_model(**model_request(name, asked, host, theirs))
    at.clients.sagemaker.create_endpoint_config(**config_request(name, asked, host, theirs))
    at.aws.hosting.forgets_new_configs = False
    at.clients.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tag_list(theirs))
    at.clock.tick(seconds=240)


@pytest.mark.parametrize("tag", ["stack", "version", "spec"])
def test_a_name_that_others_have_taken_is_rejected(at, tag):
    foreign(at, asked := deployment(), **{f"modeldrop:{tag}": "other"})
    with pytest.raises(Rejected, match=f"is there but not ours: its tags modeldrop:{tag} are other ones") as caught:
        at.fleet.ensure(asked)
    assert caught.value.code == "name_taken"


def test_a_model_that_others_have_made_is_rejected_too(at):
    asked = deployment()
    at.clients.sagemaker.create_model(**model_request(at.name(asked), asked, at.fleet.hosting, {"team": "vision"}))
    with pytest.raises(Rejected, match="is there but not ours"):
        at.fleet.ensure(asked)
    at.fleet.stop(asked.id)
    assert at.done() == ["CreateModel"]


def test_what_lacks_our_stacks_tag_is_never_stopped_listed_or_believed(at):
    foreign(at, asked := deployment(), **{"modeldrop:stack": "other"})
    before = at.done()
    at.fleet.stop(asked.id)
    assert at.done() == before
    assert at.fleet.deployments() == []
    assert "not ours" in at.fleet.observe(asked.id).reason


def test_two_stacks_in_one_account_never_touch_each_others_things(at):
    theirs, asked = at.fleet_of(stack="ffff0000"), deployment()
    at.started(asked)
    assert theirs.observe(asked.id).state is FleetState.ABSENT
    assert theirs.deployments() == []
    before = at.done()
    theirs.stop(asked.id)
    assert at.done() == before
    theirs.ensure(asked)
    assert theirs.deployments() == at.fleet.deployments() == [asked.id]
    theirs.stop(asked.id)
    assert at.fleet.observe(asked.id).state is FleetState.READY


def test_a_tag_that_people_add_changes_nothing(at):
    asked = deployment()
    at.started(asked)
    arn = at.clients.sagemaker.describe_endpoint(EndpointName=at.name(asked))["EndpointArn"]
    at.clients.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "vision"}])
    at.fleet.ensure(asked)
    assert at.fleet.observe(asked.id).state is FleetState.READY


# --- stopping ------------------------------------------------------------------------------------------------------
def test_one_that_is_still_starting_is_stopped_by_a_later_call(at):
    asked = deployment()
    at.started(asked, FleetState.STARTING)
    before = at.done()
    at.fleet.stop(asked.id)
    assert at.done() == before  # SageMaker would refuse
    assert at.fleet.observe(asked.id).state is FleetState.STARTING
    at.clock.tick(seconds=240)
    at.fleet.stop(asked.id)
    assert at.fleet.observe(asked.id).state is FleetState.STOPPING


def test_it_is_listed_until_nothing_of_it_is_left(at):
    asked = deployment()
    at.started(asked)
    at.fleet.stop(asked.id)
    at.clock.tick(seconds=90)
    assert at.fleet.observe(asked.id).state is FleetState.ABSENT
    assert at.fleet.deployments() == [asked.id]
    at.fleet.stop(asked.id)
    assert at.fleet.deployments() == []
    assert at.done("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel") == [
        "DeleteEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ]


def test_a_model_without_an_endpoint_is_listed_and_removed(at):
    asked = deployment()
    tags = deployment_tags("0123abcd", asked)
    at.clients.sagemaker.create_model(**model_request(at.name(asked), asked, at.fleet.hosting, tags))
    assert at.fleet.deployments() == [asked.id]
    at.fleet.stop(asked.id)
    assert at.fleet.deployments() == []


def test_a_config_of_others_stays_when_ours_is_cleared(at):
    asked = deployment()
    tags = deployment_tags("0123abcd", asked)
    name, host = at.name(asked), at.fleet.hosting
    at.clients.sagemaker.create_model(**model_request(name, asked, host, tags))
    at.clients.sagemaker.create_endpoint_config(**config_request(name, asked, host, {"team": "vision"}))
    at.fleet.stop(asked.id)
    assert at.done("DeleteModel", "DeleteEndpointConfig") == ["DeleteModel"]


def test_a_listing_goes_through_every_page_and_may_leave_out_what_is_young(at):
    old = [deployment(f"v{number}") for number in range(5)]
    for asked in old:
        at.started(asked)
    at.clock.tick(hours=1)
    young = at.clock()
    at.started(deployment("v9"))
    assert at.fleet.deployments() == sorted([*(asked.id for asked in old), "v9-0123"])
    assert at.fleet.deployments(before=young) == sorted(asked.id for asked in old)


# --- trouble on the way --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("operation", CREATES)
def test_a_create_whose_answer_got_lost_is_ours_at_the_next_call(at, operation):
    at.aws.hosting.forgets_new_configs = False
    at.aws.lose_answer(operation)
    asked = deployment()
    with pytest.raises(ReadTimeoutError):
        at.fleet.ensure(asked)
    at.fleet.ensure(asked)
    at.clock.tick(seconds=240)
    assert at.fleet.observe(asked.id).state is FleetState.READY
    assert at.done() == CREATES


def test_a_create_that_the_client_itself_retries_finds_its_own_work():
    at = world(attempts=2)
    at.aws.lose_answer("CreateModel")
    at.fleet.ensure(deployment())
    assert at.done() == ["CreateModel", *CREATES]


@pytest.mark.parametrize("operation", [*CREATES, "DescribeEndpoint", "ListTags"])
def test_throttling_is_no_rejection(at, operation):
    asked = deployment()
    at.started(asked) if operation == "ListTags" else None
    at.aws.throttle(operation)
    with pytest.raises(ClientError, match="Rate exceeded"):
        at.fleet.ensure(asked)


def test_a_quota_is_told_as_such(at):
    at.aws.hosting.forgets_new_configs = False
    full = Refused("ResourceLimitExceeded", "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0")
    at.aws.faults.append(Fault("CreateEndpoint", 1, after=False, error=full))
    with pytest.raises(Rejected, match="quota is used up: The account-level service limit") as caught:
        at.fleet.ensure(deployment())
    assert caught.value.code == "over_quota"


def test_a_deployment_of_the_same_id_but_another_spec_is_not_ours(at):
    at.started(asked := deployment())
    with pytest.raises(Rejected, match="modeldrop:spec"):
        at.fleet.ensure(replace(asked, digest="sha256:changed"))
