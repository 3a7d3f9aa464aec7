"""The embedded store: two buckets and a queue of hints in a process of its own."""

import stat

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.local.home import Home
from chalicelib.local.stores import Embedded, Watcher
from chalicelib.local.stores.child import free_port, is_free
from tests.stores import as_uploader, eventually


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    store = Embedded(Home(tmp_path_factory.mktemp("embedded")))
    try:
        yield store, store.start()
    finally:
        store.stop()


def test_both_buckets_keep_versions_and_the_uploaders_key_works(running):
    _, connected = running
    assert connected.drop.versioned
    assert connected.store.versioned
    as_uploader(connected, connected.drop).put("key/v/a", b"1")
    assert connected.drop.get("key/v/a") == b"1"


def test_what_it_does_not_keep_is_said(running):
    _, connected = running
    assert "memory" in connected.note
    assert "make minio" in connected.note


def test_changes_of_the_drop_are_heard_once_and_those_of_the_model_store_never(running):
    store, connected = running
    seen: list[str] = []
    watcher = Watcher(store.events(), seen.append)
    watcher.start()
    try:
        connected.store.put("sealed/v/a", b"1")
        connected.drop.put("m/v/_report.json", b"{}")
        connected.drop.put_parts("parts/v 1/a+b", iter([b"1"]))
        connected.drop.put("last/v/a", b"1")
        assert eventually(lambda: "last/v/" in seen)
    finally:
        watcher.stop()
    assert [prefix for prefix in seen if prefix != "key/v/"] == ["parts/v 1/", "last/v/"]


def test_a_port_that_is_asked_for_is_used_and_free_again_afterwards(home):
    port = free_port()
    store = Embedded(home, port=port)
    try:
        assert store.start().endpoint == f"http://127.0.0.1:{port}"
        with pytest.raises(Rejected, match=f"port {port} is taken"):
            Embedded(home, port=port).start()
    finally:
        store.stop()
    assert is_free(port)
    store.stop()  # a second time does nothing


def test_the_profile_is_its_owners_alone(home):
    store = Embedded(home)
    try:
        connected = store.start()
    finally:
        store.stop()
    assert stat.S_IMODE(home.aws_profile.stat().st_mode) == 0o600
    assert connected.endpoint in home.aws_profile.read_text()


def test_nothing_of_the_users_own_aws_set_up_reaches_in(running, monkeypatch, tmp_path):
    _, connected = running
    config = tmp_path / "config"
    config.write_text("[default]\nendpoint_url = http://127.0.0.1:9\nregion = nowhere-1\n")
    for name, setting in {
        "AWS_PROFILE": "a profile that is not there",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "the user's own",
        "AWS_SESSION_TOKEN": "the user's own",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, setting)
    mine = as_uploader(connected, connected.drop)
    mine.put("mine/v/a", b"1")
    assert mine.get("mine/v/a") == b"1"
    assert mine.client.meta.region_name == connected.region


def test_there_are_no_events_before_it_runs(home):
    with pytest.raises(Rejected, match="start it"):
        Embedded(home).events()
