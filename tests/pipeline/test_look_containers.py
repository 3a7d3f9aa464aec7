"""A drop that is an image is held within the operator's bounds before it becomes a version."""

import json

import pytest

from chalicelib import wiring
from chalicelib.domain.deploy import Bounds
from chalicelib.domain.findings import ArtifactFormat
from chalicelib.domain.limits import Limits
from chalicelib.domain.refs import VersionRef
from chalicelib.pipeline.records import Records
from chalicelib.settings import Settings
from tests.fakes import FakeBucket
from tests.fakes_pipeline import FakeClock, fake_ports, settle

REF = VersionRef("digits", "v1")
PINNED = "ghcr.io/example/server@sha256:" + "a" * 64
ALLOWED = Bounds(images=("ghcr.io/example/*",), environment_names=("LOG_*",))


def dropped(bounds: Bounds = ALLOWED, limits: Limits | None = None, lines: str = "", image: str = PINNED):
    """Drop a container.yaml; return the ports and the report."""
    clock = FakeClock()
    limits = limits or Limits()
    ports = fake_ports(
        drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock, bounds=bounds, limits=limits
    )
    ports.drop.put(REF.prefix + "model.onnx", b"weights")
    ports.drop.put(REF.prefix + "container.yaml", f"image: {image}\ncontract: vertex\n{lines}".encode())
    clock.tick(seconds=30)
    settle(REF.prefix, ports)
    return ports, json.loads(ports.drop.get(REF.prefix + "_report.json"))


def test_a_container_within_the_bounds_is_registered_with_all_that_lies_beside_it():
    ports, report = dropped(lines="environment: {LOG_LEVEL: info}\n")
    version = Records(ports.registry).version(REF).value
    assert (report["verdict"], version.format, version.digest) == ("accept", ArtifactFormat.CONTAINER, report["digest"])
    assert [file.path for file in version.files] == ["container.yaml", "model.onnx"]


@pytest.mark.parametrize(
    ("bounds", "change", "said"),
    [
        (Bounds(), {}, "operator allows (none); ask for it to be added to `images`"),
        (ALLOWED, {"image": "docker.io/library/nginx"}, "image docker.io/library/nginx is not among"),
        (ALLOWED, {"lines": "environment: {DEBUG: '1'}\n"}, "environment.DEBUG is not among"),
        (ALLOWED, {"lines": "environment: {LD_PRELOAD: /x}\n"}, "environment.LD_PRELOAD steers the loader"),
    ],
)
def test_one_past_a_bound_is_rejected_with_the_remedy_and_never_registered(bounds, change, said):
    ports, report = dropped(bounds, **change)
    [finding] = [f for f in report["findings"] if f["severity"] == "error"]
    assert (finding["code"], finding["where"]) == ("past_bound", "container.yaml")
    assert said in finding["message"]
    assert not Records(ports.registry).version(REF)


def test_on_aws_none_is_run_and_that_is_said_before_anything_is_registered():
    told = Settings(region="eu-west-1", drop_bucket="drop", store_bucket="store", bounds='{"images": ["*"]}')
    limits = wiring.wire(told).limits
    ports, report = dropped(limits=limits)
    assert [(f["code"], f["message"]) for f in report["findings"]] == [("container_not_served", wiring.NO_CONTAINERS)]
    assert not Records(ports.registry).version(REF)
