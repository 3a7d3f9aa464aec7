"""MinIO as the platform runs it: its own user for the drop, events that wait, objects that stay."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from chalicelib.adapters.s3 import S3Bucket, code_of, make_client
from chalicelib.domain.errors import NotFound, Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores import MinIO, find_minio
from chalicelib.local.stores.child import free_port, is_free
from tests.stores import as_uploader, eventually, receiver

NOBODY = "http://127.0.0.1:9/hook"
AWS = Path(sys.executable).with_name("aws")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """MinIO with a receiver that listens."""
    home, port = Home(tmp_path_factory.mktemp("minio")), free_port()
    store = MinIO(home, receiver=f"http://127.0.0.1:{port}/hook", token="t0ken")
    with receiver(store.events(), port) as received:
        try:
            yield home, store.start(), received
        finally:
            store.stop()


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def start(home):
    """Start MinIO, with one home, as often as a test likes."""
    started: list[MinIO] = []

    def start(**options):
        store = MinIO(home, **{"receiver": NOBODY, "token": "t0ken"} | options)
        started.append(store)
        return store, store.start()

    yield start
    for store in started:
        store.stop()


def denied(call, *args) -> bool:
    with pytest.raises(ClientError) as error:
        call(*args)
    return code_of(error.value) == "AccessDenied"


def test_both_buckets_keep_versions(running):
    _, connected, _ = running
    assert connected.drop.versioned
    assert connected.store.versioned


def test_the_uploaders_key_can_do_all_that_uploading_takes_in_the_drop(running):
    _, connected, _ = running
    drop = as_uploader(connected, connected.drop)
    drop.put("up/v/a", b"1")
    drop.put_parts("up/v/parts", iter([b"x" * 5 * 2**20, b"y"]))
    upload = drop.client.create_multipart_upload(Bucket=drop.name, Key="up/v/open")["UploadId"]
    assert [key for key, _ in drop.open_uploads(["up/v/open"])] == ["up/v/open"]
    assert "Parts" not in drop.client.list_parts(Bucket=drop.name, Key="up/v/open", UploadId=upload)
    drop.client.abort_multipart_upload(Bucket=drop.name, Key="up/v/open", UploadId=upload)
    assert [(item.key, item.size) for item in drop.list("up/")] == [("up/v/a", 1), ("up/v/parts", 5 * 2**20 + 1)]
    assert drop.read(drop.list("up/v/a")[0], 0, 1) == drop.get("up/v/a") == b"1"
    drop.delete(["up/v/a", "up/v/parts"])
    assert list(drop.list("up/")) == []


def test_the_uploaders_key_can_do_nothing_to_the_model_store(running):
    _, connected, _ = running
    connected.store.put("sealed/a", b"sealed")
    store = as_uploader(connected, connected.store)
    assert denied(store.put, "sealed/b", b"mine")
    assert denied(store.put, "sealed/a", b"mine")
    assert denied(store.put_parts, "sealed/b", iter([b"x" * 5 * 2**20]))
    assert denied(store.get, "sealed/a")
    assert denied(store._objects("").__next__)
    assert denied(store.delete, ["sealed/a"])
    copy = {"Bucket": connected.store.name, "Key": "sealed/a"}
    assert denied(lambda: store.client.copy_object(Bucket=connected.drop.name, Key="stolen/v/a", CopySource=copy))
    assert connected.store.get("sealed/a") == b"sealed"
    assert [item.key for item in connected.store.list()] == ["sealed/a"]


def test_the_uploaders_key_can_not_change_what_guards_the_drop(running):
    _, connected, _ = running
    client, name = as_uploader(connected, connected.drop).client, connected.drop.name
    connected.drop.put("guarded/v/a", b"1")
    [item] = connected.drop.list("guarded/")
    assert denied(lambda: client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"}))
    assert denied(lambda: client.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={}))
    assert denied(lambda: client.delete_object(Bucket=name, Key=item.key, VersionId=item.version_id))
    assert denied(lambda: client.delete_bucket(Bucket=name))
    assert denied(lambda: client.create_bucket(Bucket="another"))


def test_nobody_comes_in_without_a_key(running):
    _, connected, _ = running
    stranger = S3Bucket(make_client(connected.endpoint, "stranger", "stranger-secret", "us-east-1"), "drop")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        stranger.put("m/v/a", b"1")


def test_secrets_are_their_owners_alone_and_not_shown(running):
    home, connected, _ = running
    for path in (home.credentials, home.aws_profile):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = json.loads(home.credentials.read_text())
    assert kept["root_password"] not in home.aws_profile.read_text()
    assert connected.uploader_secret_key not in repr(connected)
    for path in [*home.logs.iterdir(), *home.root.glob(".*")]:
        assert kept["root_password"] not in path.read_text()


def test_changes_of_the_drop_are_posted_with_the_token_and_those_of_the_model_store_never(running):
    _, connected, received = running
    connected.store.put("sealed/v/a", b"1")
    connected.drop.put("posted/v 1/a+b", b"1")
    assert eventually(lambda: "posted/v 1/" in received.prefixes)
    received.prefixes.clear()
    connected.drop.delete(["posted/v 1/a+b"])
    assert eventually(lambda: "posted/v 1/" in received.prefixes)
    assert "sealed/v/" not in received.prefixes
    assert received.refused == 0


def test_a_listing_of_more_than_a_thousand_objects_is_whole_and_can_be_deleted(running):
    _, connected, _ = running
    keys = [f"many/v/{n:04}" for n in range(1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: connected.store.put(key, b""), keys))
    assert [item.key for item in connected.store.list("many/")] == keys
    connected.store.delete(keys)
    assert list(connected.store.list("many/")) == []


def test_what_is_deleted_from_the_model_store_is_not_kept_for_ever_and_the_drop_is_left_alone(running):
    _, connected, _ = running
    client = connected.store.client
    [rule] = client.get_bucket_lifecycle_configuration(Bucket="model-store")["Rules"]
    assert (rule["Status"], rule["NoncurrentVersionExpiration"]) == ("Enabled", {"NoncurrentDays": 1})
    assert "Expiration" not in rule  # what is sealed stays
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        client.get_bucket_lifecycle_configuration(Bucket="drop")


def test_an_event_waits_until_somebody_listens_also_across_a_restart(start):
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook"
    store, connected = start(receiver=url)
    connected.drop.put("early/v/a", b"1")
    store.stop()
    again, connected = start(receiver=url)
    connected.drop.put("late/v/a", b"1")
    with receiver(again.events(), port) as received:
        assert eventually(lambda: {"early/v/", "late/v/"} <= set(received.prefixes))
    assert received.refused == 0


def test_a_restart_keeps_objects_versions_keys_and_the_port(start, home):
    store, first = start()
    first.drop.put("m/v/a", b"old")
    [listed] = first.drop.list()
    first.drop.put("m/v/a", b"new")
    credentials = home.credentials.read_bytes()
    store.stop()
    _, second = start()
    assert second.endpoint == first.endpoint
    assert home.credentials.read_bytes() == credentials
    assert as_uploader(first, second.drop).get("m/v/a") == b"new"
    assert second.drop.read(listed, 0, 3) == b"old"


def test_without_its_credentials_file_it_makes_new_keys_and_the_old_ones_end(start, home):
    store, first = start()
    first.drop.put("m/v/a", b"kept")
    store.stop()
    home.credentials.unlink()
    _, second = start(port=int(first.endpoint.rpartition(":")[2]))
    assert second.drop.get("m/v/a") == as_uploader(second, second.drop).get("m/v/a") == b"kept"
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        as_uploader(first, second.drop).get("m/v/a")


def test_a_port_that_another_program_took_meanwhile_is_given_up_with_a_word(start):
    store, first = start()
    store.stop()
    port = int(first.endpoint.rpartition(":")[2])
    with receiver(store.events(), port):
        _, second = start()
    assert second.endpoint != first.endpoint
    assert str(port) in second.note


def test_a_port_that_is_asked_for_is_used_or_refused(start):
    port = free_port()
    store, connected = start(port=port)
    assert connected.endpoint.endswith(f":{port}")
    store.stop()
    with receiver(store.events(), port), pytest.raises(Rejected, match=f"port {port} is taken"):
        start(port=port)


def test_stopping_leaves_no_process_and_no_listener(start):
    store, connected = start()
    pid = store.pid
    store.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert is_free(int(connected.endpoint.rpartition(":")[2]))
    store.stop()  # a second time does nothing


PLATFORM = """
import sys
from pathlib import Path
from chalicelib.local.home import Home
from chalicelib.local.stores import MinIO
store = MinIO(Home(Path(sys.argv[1])), receiver="http://127.0.0.1:9/hook", token="t")
connected = store.start()
connected.drop.put("m/v/a", b"kept")
print(store.pid, connected.endpoint, flush=True)
sys.stdin.read()
"""


def test_killing_the_platform_ends_minio_and_a_new_platform_starts_at_once(start, home):
    platform = subprocess.Popen(
        [sys.executable, "-c", PLATFORM, str(home.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with platform:
        pid, endpoint = platform.stdout.readline().split()
        platform.kill()
        platform.wait()
        _, connected = start()  # at once, while the old one may still be ending
    assert eventually(lambda: not Path(f"/proc/{pid}").exists(), seconds=5)
    assert connected.endpoint == endpoint
    assert connected.drop.get("m/v/a") == b"kept"


def test_a_second_platform_on_the_same_data_is_told_who_uses_it(start, home):
    first, _ = start()
    with pytest.raises(Rejected, match=f"in use by process {first.pid}"):
        MinIO(home, receiver=NOBODY, token="t", patience=0.1).start()


def test_a_minio_that_does_not_start_is_told_with_the_end_of_its_log(start, home):
    home.make()
    home.minio.mkdir()
    (home.minio / ".minio.sys").write_text("a file where MinIO wants a folder")
    with pytest.raises(Rejected, match="MinIO ended with status") as error:
        start()
    assert str(home.logs / "minio.log") in str(error.value)
    assert ".minio.sys" in str(error.value)


def test_a_damaged_credentials_file_is_never_replaced(start, home):
    home.make().credentials.write_text("{")
    with pytest.raises(Rejected, match="credentials"):
        start()
    assert home.credentials.read_text() == "{"


def test_where_there_is_no_minio_it_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NotFound, match="make minio"):
        find_minio()
    built = tmp_path / "modeldrop" / "bin" / "minio"
    built.parent.mkdir(parents=True)
    built.touch(mode=0o755)
    assert find_minio() == built


@pytest.mark.parametrize("named", [True, False], ids=["with --endpoint-url", "with the profile alone"])
def test_the_aws_cli_uploads_with_the_profile_file(running, tmp_path, named):
    home, connected, _ = running
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a b.txt").write_text("from outside")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_SHARED_CREDENTIALS_FILE": str(home.aws_profile),
        "AWS_PROFILE": "modeldrop",
    }
    command = [AWS, *(["--endpoint-url", connected.endpoint] if named else []), "s3"]
    target = f"s3://drop/cli-{named}/v1/"
    subprocess.run([*command, "sync", tmp_path / "folder", target], env=environment, check=True)
    assert connected.drop.get(f"cli-{named}/v1/a b.txt") == b"from outside"
    refused = subprocess.run(
        [*command, "cp", tmp_path / "folder" / "a b.txt", "s3://model-store/x"],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "AccessDenied" in refused.stderr
