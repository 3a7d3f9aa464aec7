"""container.yaml: every field has a default by its contract, what is wrong is named, and the operator's word holds."""

import pytest

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import ArtifactFormat, Severity, Verdict
from chalicelib.domain.formats.container_yaml import BadContainer, Container, Contract, read_container
from chalicelib.domain.image_bounds import hold
from chalicelib.domain.limits import Limits
from tests.domain.uploads import judged

PINNED = "ghcr.io/example/server@sha256:" + "a" * 64
WHOLE = b"""
image: registry.example:5000/team/server:1.2
contract: vertex
port: 9000
health_route: /v2/health/ready
predict_route: /v2/models/m/infer
command: [/server]
args: ["--http-port=$(AIP_HTTP_PORT)"]
environment: {LOG_LEVEL: info}
"""


@pytest.mark.parametrize(
    ("contract", "routes", "args"),
    [
        ("vertex", ("/health", "/predict"), ()),
        ("sagemaker", ("/ping", "/invocations"), ("serve",)),
        ("oci", ("/health", "/predict"), ()),
    ],
)
def test_what_is_not_said_follows_from_the_contract(contract, routes, args):
    container = read_container(f"image: {PINNED}\ncontract: {contract}\n".encode())
    assert container == Container(PINNED, Contract(contract), 8080, *routes, args=args)


def test_every_field_can_be_said():
    container = read_container(WHOLE)
    assert container == Container(
        image="registry.example:5000/team/server:1.2",
        contract=Contract.VERTEX,
        port=9000,
        health_route="/v2/health/ready",
        predict_route="/v2/models/m/infer",
        command=("/server",),
        args=("--http-port=$(AIP_HTTP_PORT)",),
        environment={"LOG_LEVEL": "info"},
    )


def test_another_command_comes_without_the_contracts_arguments():
    assert read_container(b"image: x\ncontract: sagemaker\ncommand: [/run]\n").args == ()


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (b"contract: vertex", "container.yaml: image", "it is missing"),
        (b"image: x", "container.yaml: contract", "it is missing"),
        (b"image: x\ncontract: gcp", "container.yaml: contract", "'vertex', 'sagemaker' or 'oci', not 'gcp'"),
        (b"image: --privileged\ncontract: oci", "container.yaml: image", "must be an image's name"),
        (b"image: docker://x\ncontract: oci", "container.yaml: image", "must be an image's name"),
        (b"image: Server\ncontract: oci", "container.yaml: image", "must be an image's name"),
        (b"image: 'x y'\ncontract: oci", "container.yaml: image", "must be an image's name"),
        (b"image: x\ncontract: oci\nport: 80", "container.yaml: port", "greater than or equal to 1024, not 80"),
        (b"image: x\ncontract: oci\nport: '8080'", "container.yaml: port", "valid integer"),
        (b"image: x\ncontract: oci\nhealth_route: ping", "container.yaml: health_route", "begins with /"),
        (b'image: x\ncontract: oci\npredict_route: "/a b\\r\\nX: y"', "container.yaml: predict_route", "begins with /"),
        (b"image: x\ncontract: oci\ncommand: serve --all", "container.yaml: command", "must be a list"),
        (b"image: x\ncontract: oci\nargs: [--workers, 2]", "container.yaml: args", "write numbers in quotes"),
        (b"image: x\ncontract: oci\nenvironment: {A: 1}", "container.yaml: environment", "write it in quotes"),
        (
            b"image: x\ncontract: oci\nprivileged: true",
            "container.yaml: privileged",
            "allowed are image, contract",
        ),
        (b"[1]", "container.yaml", "it must be a mapping, not [1]"),
        (b"", "container.yaml", "it must be a mapping, not None"),
        (b"a: &a [*a]", "container.yaml", "no safe YAML document"),
        (b"x" * 70_000, "container.yaml", "more than 65536"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(text, where, said):
    with pytest.raises(BadContainer) as caught:
        read_container(text)
    [finding] = caught.value.findings
    assert (finding.code, finding.where, finding.severity) == ("bad_container", where, Severity.ERROR)
    assert said in finding.message


def test_every_wrong_field_is_said_at_once():
    with pytest.raises(BadContainer) as caught:
        read_container(b"image: X\ncontract: y\nport: 1\n")
    assert [f.where for f in caught.value.findings] == [f"container.yaml: {n}" for n in ("image", "contract", "port")]


@pytest.mark.parametrize("patterns", [(PINNED,), ("ghcr.io/example/*",), ("other", "ghcr.io/*")])
def test_an_image_that_the_operator_names_is_allowed(patterns):
    hold(read_container(f"image: {PINNED}\ncontract: oci\n".encode()), Bounds(images=patterns))


@pytest.mark.parametrize("patterns", [(), ("ghcr.io/example",), ("ghcr.io/example/server:*",), ("docker.io/*",)])
def test_any_other_image_is_refused_with_the_remedy(patterns):
    with pytest.raises(Rejected, match=r"not among those that the operator allows .*`images` in the bounds"):
        hold(read_container(f"image: {PINNED}\ncontract: oci\n".encode()), Bounds(images=patterns))


@pytest.mark.parametrize("name", ["LOG_LEVEL", "LD_PRELOAD", "AIP_HTTP_PORT", "PATH"])
def test_a_variable_needs_the_operators_word_too_and_some_are_never_a_drops(name):
    container = read_container(f"image: x\ncontract: oci\nenvironment: {{{name}: a}}\n".encode())
    with pytest.raises(Rejected, match=f"environment.{name}"):
        hold(container, Bounds(images=("*",)))


def test_an_upload_with_a_container_yaml_is_one_of_that_format_whatever_lies_beside_it():
    report = judged({"container.yaml": f"image: {PINNED}\ncontract: vertex\n".encode(), "m.onnx": b"x"})
    assert (report.verdict, report.format, report.findings) == (Verdict.ACCEPT, ArtifactFormat.CONTAINER, ())
    assert report.details == {
        "image": PINNED,
        "contract": "vertex",
        "port": 8080,
        "routes": ["/health", "/predict"],
    }


def test_a_platform_whose_fleet_runs_no_containers_says_so_at_once():
    files = {"container.yaml": f"image: {PINNED}\ncontract: vertex\n".encode()}
    report = judged(files, Limits(no_containers="here is no podman"))
    assert [(f.code, f.message) for f in report.findings] == [("container_not_served", "here is no podman")]
