"""What `sam build` makes runs on Lambda's Python with nothing but itself, and is as small and as quick as said."""

import json
import os
import struct
import zipfile

import pytest
from moto import mock_aws

from tests.aws.aws_world import api_key, rollouts, versions
from tests.aws.package_world import (
    CLIENTS,
    ROOT,
    SAM,
    TRACED,
    PackagedStack,
    Runtime,
    build,
    copy_checkout,
    local_aws,
    pack,
    sam,
)
from tests.aws.response_server import cloudformation
from tests.aws.stack import CREDENTIALS, REGION
from tests.fakes_artifacts import small_mar
from tools.runtime_python import RUNTIME, find_python

pytestmark = pytest.mark.slow

MB = 10**6
EVENTS = ROOT / "events"
UNWANTED = {"boto3", "botocore", "s3transfer", "pip", "setuptools", "wheel"}
ON_A_SMALL_MACHINE = {"QuietSeconds": "1", "InstanceType": "ml.m5.large"}


@pytest.fixture(scope="session")
def runtime(request):
    python = find_python()
    if python is None:
        pytest.skip(f"there is no Python {RUNTIME} on PATH, with pyenv or with uv")
    return Runtime.of(python, request.config.cache.mkdir("lambda-runtime"))


@pytest.fixture(scope="session")
def package(runtime, tmp_path_factory):
    if not SAM.exists():
        pytest.skip("there is no SAM CLI: `make test` installs it")
    checkout = copy_checkout(tmp_path_factory.mktemp("checkout"))
    return pack(build(checkout, runtime.python), tmp_path_factory.mktemp("lambda"))


@pytest.fixture
def stack(package, runtime, monkeypatch):
    """Yield a stack whose SageMaker is moto's: nothing that this process fakes is seen by another."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(name, value)
    with mock_aws(), local_aws() as endpoint:
        made = PackagedStack.create(ON_A_SMALL_MACHINE)
        made.package, made.runtime, made.endpoint = package, runtime, endpoint
        yield made


def _sample(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


# --- what is in the zips ----------------------------------------------------------------------------------------------
def test_every_function_is_packed_and_holds_its_handler_alone(package):
    assert [zipfile.ZipFile(p.zip).namelist() for p in package.functions.values()] == [["app.py"]] * len(
        package.functions
    )
    assert len(package.functions) == len(list((ROOT / "functions").glob("*/app.py")))


def test_the_dependency_layer_is_small_and_brings_nothing_that_the_runtime_has(package):
    layer = package.layers["DependencyLayer"]
    assert layer.zipped <= 8 * MB
    names = {name.split("/")[1].split("-")[0] for name in zipfile.ZipFile(layer.zip).namelist()}
    assert not names & UNWANTED
    assert {"aws_lambda_powertools", "chalice", "pydantic"} <= names


def test_our_layer_leaves_out_what_one_machine_needs(package):
    names = zipfile.ZipFile(package.layers["ChalicelibLayer"].zip).namelist()
    assert "python/chalicelib/wiring.py" in names
    assert not [name for name in names if name.startswith("python/chalicelib/local/")]


def test_every_source_has_bytecode_of_the_runtime_that_no_date_can_make_stale(package, runtime):
    for layer in package.layers.values():
        archive = zipfile.ZipFile(layer.zip)
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
        for name in archive.namelist():
            if name.endswith(".py"):
                folder, _, module = name.rpartition("/")
                pyc = archive.read(f"{folder}/__pycache__/{module[:-3]}.cpython-{RUNTIME.replace('.', '')}.pyc")
                assert pyc[:4].hex() == runtime.magic
                assert struct.unpack("<I", pyc[4:8]) == (1,), f"{name}: not an unchecked hash"


# --- what runs --------------------------------------------------------------------------------------------------------
def test_a_drop_becomes_a_starting_endpoint_by_the_built_functions(stack):
    stack.put("digits/1/model.mar", small_mar())
    stack.run(lambda: bool(stack.client("sagemaker").list_endpoints()["Endpoints"]))
    assert list(versions(stack)) == ["digits/1"]
    assert [str(r.ref) for r in rollouts(stack)] == ["digits/1"]
    assert set(stack.outcomes) == {"ValidateFunction", "RegisterFunction", "AdvanceFunction"}
    _assert_ran_from_the_zips(stack)


def test_people_schedules_and_cloudformation_are_answered_by_the_built_functions(stack, tmp_path):
    key = api_key(stack, "admin")
    asked = _sample("authorizer-token") | {"authorizationToken": f"Bearer {key}"}
    assert stack.invoke("AuthorizerFunction", asked)["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    listed = stack.invoke("ApiFunction", _sample("api-list-endpoints"))
    assert (listed["statusCode"], json.loads(listed["body"])) == (200, {"endpoints": [], "next": None})
    refused = stack.invoke("ApiFunction", _sample("api-predict"))
    assert (refused["statusCode"], json.loads(refused["body"])["error"]["code"]) == (404, "not_found")
    stack.invoke("ReSyncFunction", _sample("scheduled-re-sync"))
    with cloudformation(tmp_path, stack.now) as waiting:
        stack.more = {"SSL_CERT_FILE": str(waiting.ca)}
        for sample in ("custom-resource-create", "custom-resource-delete"):
            stack.invoke("TeardownFunction", _sample(sample) | {"ResponseURL": waiting.url})
    assert [answer["Status"] for _, _, answer in waiting.received] == ["SUCCESS", "SUCCESS"]
    _assert_ran_from_the_zips(stack)


@pytest.mark.parametrize(
    ("function", "sample"),
    [
        ("ValidateFunction", "sqs-uploads"),
        ("RegisterFunction", "sqs-registrations"),
        ("AdvanceFunction", "sqs-rollouts"),
    ],
)
def test_a_batch_about_what_is_not_there_is_taken_and_nothing_comes_again(stack, function, sample):
    assert stack.invoke(function, _sample(sample)) == {"batchItemFailures": []}


def test_what_traces_is_loaded_where_tracing_is_on_and_nowhere_else(stack):
    stack.more = TRACED
    stack.invoke("AdvanceFunction", _sample("sqs-rollouts"))
    stack.more = {**TRACED, "MODELDROP_TRACING": "true"}
    stack.invoke("AdvanceFunction", _sample("sqs-rollouts"))
    off, on = (o.found["modules"] for o in stack.outcomes["AdvanceFunction"])
    assert "aws_xray_sdk" not in off
    assert "aws_xray_sdk" in on


def test_a_cold_start_loads_nothing_that_is_not_used(stack):
    stack.invoke("ValidateFunction", _sample("sqs-uploads"))
    loaded = stack.outcomes["ValidateFunction"][0].found["modules"]
    assert not {"boto3", "s3transfer", "yaml", "chalice", "aws_lambda_powertools.utilities.parser"} & set(loaded)


def _assert_ran_from_the_zips(stack):
    for function, outcomes in stack.outcomes.items():
        folder, *layers = stack.package.path(function)
        known = (folder, *layers, str(stack.runtime.libraries), stack.runtime.standard)
        for outcome in outcomes:
            assert set(outcome.found["clients"]) <= set(CLIENTS.get(function, outcome.found["clients"]))
            modules = outcome.found["modules"].values()
            assert [file for file, _ in modules if not file.startswith(known)] == []
            assert outcome.found["compiled"] == [f"{folder}/app.py"]
            cached = [pyc for file, pyc in modules if file.endswith(".py") and file.startswith(tuple(layers))]
            assert cached
            assert all(os.path.isfile(pyc) for pyc in cached)  # noqa: PTH113


# --- what the template is held to -------------------------------------------------------------------------------------
def test_the_template_has_nothing_for_sam_and_cfn_lint_to_say(tmp_path):
    if not SAM.exists():
        pytest.skip("there is no SAM CLI: `make test` installs it")
    copy_checkout(tmp_path)
    assert "is a valid SAM Template" in sam("sam", "validate", "--lint", cwd=tmp_path)
    assert sam("cfn-lint", "template.yaml", cwd=tmp_path) == ""
