"""A platform on a store that isn't its own: any other S3, without events, by its URL."""

import json

import pytest

from chalicelib.local.home import Home
from chalicelib.local.stores import MinIO
from tests.fakes_artifacts import small_mar
from tests.platform_world import PlatformProcess, environment, platform

pytestmark = pytest.mark.alone


@pytest.fixture
def elsewhere(tmp_path):
    """A MinIO that somebody else runs."""
    home = Home(tmp_path / "elsewhere")
    store = MinIO(home, receiver="http://127.0.0.1:1/nobody", token="none")
    connected = store.start()
    yield connected, json.loads(home.credentials.read_text())
    store.stop()


def test_a_drop_on_any_other_s3_is_found_by_polling_and_served(elsewhere, tmp_path):
    connected, credentials = elsewhere
    env = environment(
        AWS_ACCESS_KEY_ID=credentials["root_user"],
        AWS_SECRET_ACCESS_KEY=credentials["root_password"],
        AWS_DEFAULT_REGION=connected.region,
    )
    home = tmp_path / "home"
    with platform(home, "--quiet-period", "1", "--s3-endpoint", connected.endpoint, env=env) as running:
        connected.drop.put("m/v1/model.mar", small_mar())
        running.await_phase("m", "v1", "promoted")
        assert [o.key.split("/")[:2] for o in connected.store.list()] == [["m", "v1"]]
        assert not (home / "minio").exists()
        assert "drop: " not in running.said  # uploaders bring their own keys


def test_a_store_that_isnt_there_or_has_no_buckets_is_refused_in_one_line_that_says_what_to_do(tmp_path):
    running = PlatformProcess(tmp_path / "home")
    env = environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1")
    done = running.cli("up", "--port", "0", "--s3-endpoint", "http://127.0.0.1:1", env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "127.0.0.1:1" in done.stderr
