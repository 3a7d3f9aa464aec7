"""Any other S3: credentials are the user's, hints come from listings. Here it is moto that plays the other store."""

import pytest
from botocore.exceptions import ClientError

from chalicelib.adapters.s3 import S3Bucket
from chalicelib.domain.errors import Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores import Embedded, External, Watcher
from tests.stores import eventually


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    store = Embedded(Home(tmp_path_factory.mktemp("other")))
    try:
        yield store.start()
    finally:
        store.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "my-secret")


def test_buckets_are_used_with_credentials_from_the_environment(other):
    connected = External(other.endpoint).start()
    other.drop.put("env/v/a", b"1")
    assert connected.drop.get("env/v/a") == b"1"
    assert (connected.uploader_access_key, connected.region, connected.note) == ("", "us-east-1", "")


def test_buckets_are_used_with_an_aws_profile(other, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    profile = tmp_path / "credentials"
    profile.write_text("[mine]\naws_access_key_id=a\naws_secret_access_key=b\nregion=eu-central-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert External(other.endpoint).start().region == "eu-central-1"


def test_a_bucket_without_versions_is_said(other):
    other.drop.client.create_bucket(Bucket="plain")
    assert "plain keeps no versions" in External(other.endpoint, drop="plain").start().note


def test_a_change_of_the_drop_is_found_by_listing(other):
    store = External(other.endpoint, every=0.05)
    store.start()
    seen: list[str] = []
    watcher = Watcher(store.events(), seen.append)
    watcher.start()
    try:
        other.drop.put("listed/v/a", b"1")
        assert eventually(lambda: "listed/v/" in seen)
        seen.clear()
        other.drop.delete(["listed/v/a"])
        assert eventually(lambda: "listed/v/" in seen)
    finally:
        watcher.stop()
        store.stop()


def test_a_missing_bucket_is_told_with_how_to_make_it(other):
    with pytest.raises(Rejected, match="s3 mb s3://nowhere") as error:
        External(other.endpoint, store="nowhere").start()
    assert other.endpoint in str(error.value)


def test_a_bucket_that_went_away_is_an_error_of_the_store_and_not_a_changed_object(other):
    other.drop.put("m/v/a", b"1")
    [item] = other.drop.list("m/v/a")
    nowhere = S3Bucket(other.drop.client, "nowhere")
    for call in (lambda: nowhere.read(item, 0, 1), lambda: list(nowhere.stream(item)), lambda: nowhere.get("m/v/a")):
        with pytest.raises(ClientError, match="NoSuchBucket"):
            call()


def test_missing_credentials_are_told(other, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Rejected, match="AWS_ACCESS_KEY_ID"):
        External(other.endpoint).start()


def test_there_are_no_events_before_it_is_connected(other):
    with pytest.raises(Rejected, match="start it"):
        External(other.endpoint).events()
