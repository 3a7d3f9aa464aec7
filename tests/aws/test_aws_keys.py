"""The first API key of a stack: made with an operator's AWS credentials, through the stack's own API function."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from chalicelib.domain.rollout import Phase
from chalicelib.local.cli.program import app
from chalicelib.pipeline.authorize import authorize
from chalicelib.pipeline.ports import Registry
from tests.api_caller import Caller
from tests.aws.aws_world import rollouts
from tests.aws.rest_gateway import RestGateway
from tests.aws.stack import Stack
from tests.aws.translated import translated
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import fake_ports

METHOD = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/live/GET/v1/endpoints"
PROFILE = """\
[profile operator]
region = us-east-1
aws_access_key_id = testing
aws_secret_access_key = testing
services = here

[services here]
lambda =
  endpoint_url = {url}
"""
SAMPLE = Path(__file__).parents[2] / "events" / "api-make-first-key.json"


@dataclass
class SmallStack:
    """The control API as a function, on records in memory."""

    prefix: str = "md-1a2b3c4d"
    is_broken: bool = False
    registry: Registry = field(init=False)
    events: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        ports = fake_ports()
        self.registry = ports.registry
        self._app = Caller(ports).app

    def invoke(self, function: str, event: Any) -> Any:
        self.events.append(event)
        if self.is_broken:
            raise RuntimeError("the environment lacks MODELDROP_TABLE")
        return self._app(event, None)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Give a small stack whose API function can be invoked by the AWS profile `operator`, and AWS's secrets."""
    small = SmallStack()
    with mock_aws(), lambda_of(small) as url:
        use(url, monkeypatch, tmp_path)
        yield small


@pytest.fixture
def stack(world, monkeypatch, tmp_path):
    """Give the template's stack, with the real function."""
    stack = world.stack()
    with lambda_of(stack) as url:
        use(url, monkeypatch, tmp_path)
        yield stack


def use(url: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "config").write_text(PROFILE.format(url=url))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


@contextmanager
def lambda_of(stack: Stack | SmallStack) -> Iterator[str]:
    """Answer Lambda's Invoke of the stack's functions, by their handlers; gives the service's URL."""

    class Invoke(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = urlsplit(self.path).path.split("/")[3]
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, told = _invoked(stack, name, event)
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Invoke)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _invoked(stack: Stack | SmallStack, name: str, event: Any) -> tuple[int, dict[str, str], Any]:
    if name != f"{stack.prefix}-api":
        refused = {"Type": "User", "Message": f"Function not found: {name}"}
        return 404, {"X-Amzn-ErrorType": "ResourceNotFoundException"}, refused
    try:
        with redirect_stdout(io.StringIO()):  # the function's log, which isn't the command's to print
            return 200, {}, stack.invoke("ApiFunction", event)
    except Exception as error:  # noqa: BLE001 - as Lambda says it
        return 200, {"X-Amz-Function-Error": "Unhandled"}, {"errorMessage": str(error)}


def run(*args: str) -> Any:
    return CliRunner().invoke(app, ["keys", "make", *args])


def scopes(secret: str, registry: Registry) -> Any:
    """Return what the authorizer says of a secret."""
    return authorize(f"Bearer {secret}", METHOD, registry)["context"]["scopes"]


def kept(small: SmallStack, name: str) -> Any:
    client = boto3.client("secretsmanager", "us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    return client.get_secret_value(SecretId=f"{small.prefix}/keys/{name}")


def test_from_a_stack_without_keys_to_a_prediction_by_what_the_pages_say(stack):
    first = run("me", "--scope", "admin", "--aws", stack.prefix, "--profile", "operator")
    shop = run("shop", "--scope", "predict:mymodel", "--aws", stack.prefix, "--profile", "operator", "--keep")
    stack.put("mymodel/v1/model.mar", small_mar())
    stack.run(lambda: any(rollout.phase == Phase.PROMOTED for rollout in rollouts(stack)))
    secret = stack.client("secretsmanager").get_secret_value(SecretId=shop.stdout.strip())["SecretString"]
    api = RestGateway(stack)
    answered = api.call("POST", "/v1/endpoints/mymodel/predict", {"instances": [[1, 2, 3, 4]]}, key=secret)
    assert (answered.status, len(answered.json["predictions"])) == (200, 1)
    listed = api.call("GET", "/v1/keys", key=first.stdout.strip())
    assert [(key["name"], key["scopes"]) for key in listed.json["keys"]] == [
        ("me", ["admin"]),
        ("shop", ["predict:mymodel"]),
    ]


def test_a_kept_key_lies_where_the_caller_policy_reads(small):
    assert run("shop", "--scope", "admin", "--aws", small.prefix, "--profile", "operator", "--keep").exit_code == 0
    policy = translated()["Resources"]["CallerPolicy"]["Properties"]["PolicyDocument"]
    [statement] = policy["Statement"]
    readable = statement["Resource"]["Fn::Sub"].split(":secret:")[1]
    named = readable.replace("${Bus}", small.prefix).replace("${!aws:PrincipalTag/modeldrop:key}", "shop")
    assert kept(small, "shop")["ARN"].split(":secret:")[1].startswith(named.removesuffix("??????"))


def test_a_kept_key_is_not_printed_and_takes_the_place_of_an_older_one(small):
    asked = ("shop", "--scope", "predict:*", "--aws", small.prefix, "--profile", "operator", "--keep")
    first, second = run(*asked), run(*asked, "--scope", "deploy")
    assert (first.stdout, second.stdout) == (f"{small.prefix}/keys/shop\n",) * 2
    assert scopes(kept(small, "shop")["SecretString"], small.registry) == "deploy predict:*"


def test_the_sample_for_the_aws_command_line_is_what_we_send(small):
    assert run("me", "--scope", "admin", "--aws", small.prefix, "--profile", "operator").exit_code == 0
    assert small.events == [json.loads(SAMPLE.read_text())]


@pytest.mark.parametrize(
    ("name", "scope", "prefix", "said"),
    [
        ("me", "all", "md-1a2b3c4d", "'all' is no scope"),
        ("me", "admin", "md-00000000", "md-00000000-api"),
    ],
)
def test_a_refusal_is_one_line(small, name, scope, prefix, said):
    refused = run(name, "--scope", scope, "--aws", prefix, "--profile", "operator")
    assert (refused.exit_code, said in refused.stderr, refused.stderr.count("\n")) == (1, True, 1)


def test_a_function_that_fails_is_named_with_its_reason(small):
    small.is_broken = True
    failed = run("me", "--scope", "admin", "--aws", small.prefix, "--profile", "operator")
    assert failed.exit_code == 1
    assert failed.stderr == f"modeldrop: function {small.prefix}-api failed: the environment lacks MODELDROP_TABLE\n"


def test_a_profile_that_is_not_there_is_one_line(small):
    failed = run("me", "--scope", "admin", "--aws", small.prefix, "--profile", "nobody")
    assert (failed.exit_code, "nobody" in failed.stderr, failed.stderr.count("\n")) == (4, True, 1)


def test_a_name_that_is_none_for_a_secret_is_refused_before_a_key_is_made(small):
    refused = run("my shop", "--scope", "admin", "--aws", small.prefix, "--profile", "operator", "--keep")
    assert (refused.exit_code, "my shop" in refused.stderr) == (2, True)
    assert small.events == []


def test_only_a_stack_has_a_place_to_keep_keys():
    refused = run("me", "--scope", "admin", "--keep")
    assert (refused.exit_code, "--aws" in refused.stderr) == (2, True)
