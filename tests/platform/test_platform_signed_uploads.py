"""A CI job that has an API key and nothing else of the platform uploads to the real store and sees its version live."""

import json
import re
import shutil
import subprocess

import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import MODELDROP, ROOT, environment, platform

pytestmark = pytest.mark.alone

PACE = ("--step-time", "1", "--min-requests", "20", "--quiet-period", "60", "--steps", "50,100")
SHELL = next(block for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs/uploads.md").read_text(), re.DOTALL)
             if "openssl" in block)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("signed") / "home", *PACE) as started:
        yield started


@pytest.fixture
def job(running, tmp_path):
    """Return the environment of a job elsewhere: it has a folder, the platform's address, CA and a key."""
    (tmp_path / "model.mar").write_bytes(small_mar())
    ca = tmp_path / "ca.pem"
    shutil.copy(running.connection["ca"], ca)
    told = {"MODELDROP_URL": running.url, "MODELDROP_KEY": running.key("deploy")["key"], "MODELDROP_CA": str(ca)}
    return environment(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "none"), VERSION="8", **told)


def run(command, job, tmp_path):
    return subprocess.run(command, env=job, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)


def test_push_with_a_key_alone_is_live_in_the_end(running, job, tmp_path):
    pushed = run([MODELDROP, "push", "model.mar", "digits/7", "--api", "--wait", "--json"], job, tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert json.loads(pushed.stdout)["files"] == ["model.mar"]
    assert running.serving("digits") == "7"
    assert run([MODELDROP, "push", "model.mar", "digits/7", "--api"], job, tmp_path).returncode == 1


def test_a_folder_with_a_large_file_is_pushed_in_parts(running, job, tmp_path):
    large = tmp_path / "folder"
    large.mkdir()
    (large / "model.mar").write_bytes(small_mar())
    with (large / "weights.bin").open("wb") as weights:
        weights.truncate(256 * 2**20 + 12345)  # sparse: it costs no disk here
    pushed = run([MODELDROP, "push", "folder", "large/1", "--api", "--no-validate", "--json"], job, tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    listed = running.s3.list_objects_v2(Bucket="drop", Prefix="large/1/")["Contents"]
    sizes = {found["Key"]: found["Size"] for found in listed if "_report" not in found["Key"]}
    assert sizes["large/1/weights.bin"] == 256 * 2**20 + 12345
    assert {key.rpartition("/")[2] for key in sizes} == {"_manifest.json", "model.mar", "weights.bin"}


@pytest.mark.skipif(not shutil.which("jq"), reason="there is no jq here")
def test_the_pages_own_shell_uploads_a_version(running, job, tmp_path):
    done = run(["bash", "-euo", "pipefail", "-c", SHELL], job, tmp_path)
    assert done.returncode == 0, done.stderr
    running.await_phase("digits", "8", "stepping")
