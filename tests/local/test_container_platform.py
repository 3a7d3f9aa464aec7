"""A whole platform with a custom container: dropped as a file, served, replaced by canary, killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.local.fleet.container_engine import prefix_of
from chalicelib.local.home import Home
from tests.local.container_images import engine, image
from tests.platform_world import Load, PlatformProcess, platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "1", "--min-requests", "10", "--quiet-period", "0.5", "--keep-warm", "1")
AWS = str(Path(sys.executable).with_name("aws"))


def files(name: str, weight: str) -> dict[str, bytes]:
    return {"weight.json": weight.encode(), "container.yaml": f"image: {name}\ncontract: vertex\n".encode()}


def drop_with_aws(running: PlatformProcess, folder: Path, prefix: str, dropped: dict[str, bytes]) -> None:
    """Drop a version as people do."""
    folder.mkdir()
    for path, body in dropped.items():
        (folder / path).write_bytes(body)
    profile = {"AWS_SHARED_CREDENTIALS_FILE": str(running.home / "aws-credentials"), "AWS_PROFILE": "modeldrop"}
    command = [AWS, "s3", "cp", "--recursive", str(folder), f"s3://drop/{prefix}"]
    subprocess.run(command, env={**os.environ, **profile}, check=True, capture_output=True)


def asked_with_curl(running: PlatformProcess) -> tuple[dict, str]:
    """Return the body and the headers of a prediction."""
    url, ca = f"{running.url}/v1/endpoints/m/predict", running.connection["ca"]
    key = running.key("predict:m")["key"]
    body = ["-H", "Content-Type: application/json", "-d", '{"instances": [[1, 2]]}']
    command = ["curl", "-sS", "-D", "/dev/stderr", "--cacert", ca, "-H", f"Authorization: Bearer {key}", *body, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), done.stderr.lower()


def containers(running: PlatformProcess) -> list[str]:
    listed = engine().say("ps", "--all", "--format", "{{.Names}}").stdout.split()
    return [name for name in listed if name.startswith(prefix_of(Home(running.home)))]


def promoted(running: PlatformProcess) -> dict:
    shown = running.endpoint("m")
    return shown["deployments"][shown["promoted"]]


def test_a_dropped_container_goes_live_is_replaced_by_canary_and_survives_being_killed(tmp_path):
    name = image()
    (tmp_path / "bounds.yaml").write_text("images: ['localhost/modeldrop-test-server:*']\n")
    with platform(tmp_path / "home", *PACE, "--bounds", str(tmp_path / "bounds.yaml"), store="embedded") as running:
        running.drop("m/v0/", files("docker.io/library/nginx", "1"))
        drop_with_aws(running, tmp_path / "one", "m/v1/", files(name, "2.5"))
        running.await_phase("m", "v1", "promoted")

        refused = running.get("/v1/models/m/versions/v0")
        assert "`images` in the bounds" in refused["findings"][-1]["message"]
        answer, headers = asked_with_curl(running)
        assert answer["predictions"] == [7.5]
        assert answer["served_by"] == {
            "model": "m",
            "version": "v1",
            "digest": "",
            "deployment": running.endpoint("m")["promoted"],
        }
        assert "x-modeldrop-version: v1" in headers
        assert "x-modeldrop-digest" not in headers
        assert promoted(running)["image"] == engine().resolve(name)

        with Load(running, "m", per_second=20) as load:
            running.drop("m/v2/", files(name, "10"))
            running.await_phase("m", "v2", "promoted")
            until(lambda: len(containers(running)) == 1, 30, "the end of what was replaced")
            os.kill(engine().pid(containers(running)[0]), signal.SIGKILL)
            until(lambda: promoted(running)["restarts"] == 1 and promoted(running)["ready"] == 1, 30, "its restart")
        assert {a.version for a in load.answers if a.status == 200} == {"v1", "v2"}
        assert asked_with_curl(running)[0]["predictions"] == [30]

    assert containers(running) == []
