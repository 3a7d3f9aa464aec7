"""A CI job that has an API key and nothing else of the platform uploads to the real store and sees its version live."""

import json
import re
import shutil
import subprocess

import pytest

from chalicelib.local.stores.child import free_port
from tests.fakes_artifacts import small_mar
from tests.platform_world import MODELDROP, ROOT, Load, environment, platform, until

pytestmark = pytest.mark.alone

SICK = small_mar(
    "def handle(data, context):\n    if data is None: return None\n    raise ValueError('no such class')\n"
)
PACE = ("--step-time", "1", "--min-requests", "20", "--quiet-period", "60", "--steps", "50,100")
SHELL = next(block for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs/uploads.md").read_text(), re.DOTALL)
             if "openssl" in block)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("signed") / "home", *PACE) as started:
        yield started


@pytest.fixture
def job(running, tmp_path):
    (tmp_path / "model.mar").write_bytes(small_mar())
    return job_of(running, tmp_path)


def job_of(running, folder):
    """Return the environment of a job elsewhere: it has a folder, the platform's address, CA and a key."""
    ca = folder / "ca.pem"
    shutil.copy(running.connection["ca"], ca)
    told = {"MODELDROP_URL": running.url, "MODELDROP_KEY": running.key("upload:*")["key"], "MODELDROP_CA": str(ca)}
    return environment(HOME=str(folder), XDG_DATA_HOME=str(folder / "none"), VERSION="8", **told)


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


def test_a_push_waits_through_a_crash_of_the_platform_and_its_next_start(tmp_path_factory, tmp_path):
    with platform(tmp_path_factory.mktemp("crash") / "home", *PACE, "--port", str(free_port())) as crashing:
        (tmp_path / "model.mar").write_bytes(small_mar())
        run([MODELDROP, "push", "model.mar", "digits/1", "--api"], job_of(crashing, tmp_path), tmp_path)
        crashing.await_phase("digits", "1", "promoted")
        (tmp_path / "model.mar").write_bytes(SICK)
        command = [MODELDROP, "push", "model.mar", "digits/2", "--api", "--wait", "--timeout", "150"]
        env = job_of(crashing, tmp_path) | {"GITHUB_ACTIONS": "true"}
        pushing = subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        until(lambda: crashing.phase("digits", "2") == "stepping", 60, "the canary has traffic")
        crashing.kill()
        crashing.start()
        with Load(crashing, "digits", per_second=20):
            _, said = pushing.communicate(timeout=160)
    assert pushing.returncode == 1, said
    assert "trying again" in said
    assert re.search(r"digits: rolled_back \(.*\d+ errors in \d+", said), said
    assert "::error title=digits/2 is not live::digits: rolled_back" in said
