"""Every sample in events/ is what its taker understands: to add one, put it into the table of its kind here."""

import json
import re
from pathlib import Path

import pytest
from aws_lambda_powertools.utilities.parser import models
from pydantic import TypeAdapter

from chalicelib.adapters.sagemaker_names import DEPLOYMENT, ENDPOINT, STACK, deployment_name, deployment_tags
from chalicelib.domain.errors import Rejected
from chalicelib.domain.transition import Transition
from chalicelib.events import RE_SYNC, FleetChanged, parse_body, parse_event, parse_message
from chalicelib.pipeline.records import Records, to_json
from tests.api_caller import Caller
from tests.event_check import check_document
from tests.events_story import Story

ROOT = Path(__file__).parent.parent
SAMPLES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "events").glob("*.json")}
NAME = "md-1a2b3c4d-v2-c7756615028a-8dd515fa221e080b"
OURS = FleetChanged(NAME, SAMPLES["sagemaker-endpoint-in-service"]["detail"]["Tags"])
THEIRS = FleetChanged("somebody-elses", {})

# What a store says, wherever it arrives: in a queue, or posted to the platform of one machine.
STORES = {
    "eventbridge-object-created": ["look:digits/v1/"],
    "eventbridge-object-created-multipart": ["look:digits/v 1/"],
    "eventbridge-object-deleted": ["look:digits/v1/"],
    "eventbridge-object-tags-added": [],
    "eventbridge-own-report": [],
    "minio-object-created": ["look:digits/v 1/"],
    "minio-object-removed": ["look:digits/v 1/"],
    "minio-own-report": [],
    "moto-object-created": ["look:digits/v 1/"],
    "s3-object-created": ["look:digits/v 1/"],
    "s3-test-event": [],
}
# What else is in a queue's message, or a function's event.
EVENTS = {
    "sagemaker-endpoint-creating": [OURS],
    "sagemaker-endpoint-in-service": [OURS],
    "sagemaker-endpoint-updating": [OURS],
    "sagemaker-endpoint-failed": [OURS],
    "sagemaker-endpoint-deleting": [OURS],
    "sagemaker-endpoint-of-others": [THEIRS],
    "scheduled-re-sync": [RE_SYNC],
    "wake-up-re-sync": [RE_SYNC],
    "wake-up-look": ["look:digits/v 1/"],
    "wake-up-register": ["register:digits/v1/"],
    "wake-up-catalogue": ["catalogue:digits/v1"],
    "wake-up-advance": ["advance:digits"],
}
# The samples that a batch carries; None is a message that nobody understands.
BATCHES = {
    "sqs-uploads": [
        "eventbridge-object-created",
        "eventbridge-object-created-multipart",
        "eventbridge-own-report",
        "s3-object-created",
        "s3-test-event",
        "wake-up-look",
    ],
    "sqs-registrations": ["wake-up-register", "wake-up-catalogue"],
    "sqs-rollouts": ["wake-up-advance", "sagemaker-endpoint-in-service", "sagemaker-endpoint-of-others"],
    "sqs-uploads-one-bad": ["wake-up-look", None],
}
# Requests, and what they are answered with after the story of `events_story`; None where it isn't the control API's.
REQUESTS = {
    "api-list-endpoints": 200,
    "api-show-version": 200,
    "api-start-rollout": 409,
    "api-call-hook": 401,  # the story has no such hook
    "api-make-first-key": 201,
    "api-predict": None,
    "api-raw-predict": None,
}
BY_HAND = "api-make-first-key"  # an operator's, as short as the function lets it be
MODELS = {
    **dict.fromkeys(BATCHES, models.SqsModel),
    "authorizer-token": models.ApiGatewayAuthorizerToken,
    "authorizer-token-unknown": models.ApiGatewayAuthorizerToken,
    "custom-resource-create": models.CloudFormationCustomResourceCreateModel,
    "custom-resource-update": models.CloudFormationCustomResourceUpdateModel,
    "custom-resource-delete": models.CloudFormationCustomResourceDeleteModel,
}
PUBLISHED = {name for name in SAMPLES if name.startswith("bus-")}


@pytest.fixture(scope="module")
def story():
    return Story()


@pytest.fixture(scope="module")
def told(story):
    return story.told()


def test_every_sample_is_used_here_and_every_name_here_has_its_sample():
    assert {*STORES, *EVENTS, *MODELS, *REQUESTS, *PUBLISHED} == set(SAMPLES)


def test_every_sample_is_listed_for_people():
    text = (ROOT / "events" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([a-z0-9-]+)\.json`", text)) == set(SAMPLES)


@pytest.mark.parametrize(("name", "expected"), (STORES | EVENTS).items())
def test_a_message_says_what_to_do(name, expected):
    assert parse_message(json.dumps(SAMPLES[name])) == parse_event(SAMPLES[name]) == expected


@pytest.mark.parametrize(("name", "expected"), STORES.items())
def test_what_a_store_says_is_the_same_on_one_machine(name, expected):
    assert ["look:" + look.prefix for look in parse_body(json.dumps(SAMPLES[name]))] == expected


@pytest.mark.parametrize(("name", "carried"), BATCHES.items())
def test_a_batch_carries_the_samples(name, carried):
    bodies = [record["body"] for record in SAMPLES[name]["Records"]]
    assert [json.loads(body) for body, inner in zip(bodies, carried, strict=True) if inner] == [
        SAMPLES[inner] for inner in carried if inner
    ]
    for body in (body for body, inner in zip(bodies, carried, strict=True) if not inner):
        with pytest.raises(Rejected):
            parse_message(body)


@pytest.mark.parametrize(("name", "model"), MODELS.items())
def test_a_sample_has_the_shape_that_lambda_gives_it(name, model):
    model.model_validate(SAMPLES[name])


def test_our_endpoint_has_the_name_and_the_tags_that_the_fleet_gives(story, told):
    assert deployment_name(OURS.tags[STACK], OURS.tags[DEPLOYMENT]) == NAME
    endpoint = Records(story.ports.registry).endpoint(OURS.tags[ENDPOINT]).value
    for deployment in endpoint.deployments.values():
        assert set(OURS.tags) == set(deployment_tags(OURS.tags[STACK], deployment))


@pytest.mark.parametrize("name", sorted({*REQUESTS} - {BY_HAND}))
def test_a_request_has_the_shape_that_api_gateway_gives_it(name):
    context = SAMPLES[name]["requestContext"]
    # Of what an authorizer says, only plain values reach a function; Powertools' model knows Cognito's lists instead.
    assert all(isinstance(value, str | int | bool) for value in context.get("authorizer", {}).values())
    models.APIGatewayProxyEventModel.model_validate(SAMPLES[name] | {"requestContext": context | {"authorizer": None}})


@pytest.mark.parametrize(("name", "status"), [(name, status) for name, status in REQUESTS.items() if status])
def test_a_request_is_answered_by_the_control_api(story, told, name, status):
    assert Caller(story.ports).app(SAMPLES[name], None)["statusCode"] == status


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_event_is_a_transition_as_the_verbs_tell_it(told, name):
    event = SAMPLES[name]
    sample = TypeAdapter(Transition).validate_python(event["detail"])
    assert to_json(sample) == event["detail"]
    assert (event["source"], event["detail-type"]) == ("modeldrop", sample.kind)
    assert shape(event["detail"]) == shape(to_json(told[sample.kind]))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_event_is_as_the_schema_says(name):
    check_document(SAMPLES[name]["detail"])


def test_every_kind_that_is_told_has_a_sample(told):
    kinds = {SAMPLES[name]["detail-type"] for name in PUBLISHED}
    assert kinds == set(told)
    assert named_in_code() <= kinds


def named_in_code():
    """Return the kinds that stand in the verbs as they are; those of a rollout's end are made from its phase."""
    code = ROOT / "chalicelib"
    sources = [code / "domain" / "carry_out.py", *(code / "pipeline").glob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    return set(re.findall(r'"([a-z]+\.[a-z_]+)"', text)) - {"deploy.yaml"}


def shape(value):
    """Return the fields and types of JSON; what is keyed by deployments has one shape for all of them."""
    if isinstance(value, dict):
        return {key: "split" if key == "split" else shape(inner) for key, inner in value.items()}
    return type(value).__name__
