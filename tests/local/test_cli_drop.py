"""`validate` and `push`, on a real S3: moto's server in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.manifest import parse_manifest
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.split import ManualSplit
from chalicelib.local.cli.connection import Platform
from chalicelib.local.cli.following import look
from chalicelib.local.cli.settings import Settings
from chalicelib.local.home import Home
from chalicelib.local.stores import Embedded
from chalicelib.pipeline.open_rollout import open_rollout
from chalicelib.pipeline.records import Records, Stored
from tests.api_caller import ended_as, registered, rejected, rolling, uploading
from tests.fakes_artifacts import small_mar
from tests.local.cli_platform import SmallPlatform, run

REF = VersionRef("digits", "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home")).make()
    home.logs.mkdir()
    embedded = Embedded(home)
    try:
        yield home, embedded.start()
    finally:
        embedded.stop()


@pytest.fixture
def home(store):
    return store[0]


@pytest.fixture
def drop(store):
    bucket = store[1].drop
    bucket.delete([item.key for item in bucket.list()])
    return bucket


@pytest.fixture
def mar(tmp_path):
    path = tmp_path / "model.mar"
    path.write_bytes(small_mar())
    return path


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken" / "model.mar"
    path.parent.mkdir()
    path.write_bytes(b"no archive at all")
    return path


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_good_archive_is_accepted(tmp_path, mar):
    ended = run(tmp_path, "validate", str(mar), "--json")
    assert (ended.exit_code, lines(ended.stdout)[0]["verdict"]) == (0, "accept")


def test_a_broken_archive_is_rejected_with_what_to_do(tmp_path, broken):
    ended = run(tmp_path, "validate", str(broken))
    assert (ended.exit_code, "fix:" in ended.stdout) == (1, True)


def test_an_artifact_is_judged_by_the_operators_policy(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "score.py").write_text("def load_model(): ...\ndef predict(data): ...\n")
    (tmp_path / "rules.yaml").write_text("validation: {policy: {no_environment: block}}")
    (tmp_path / "wrong.yaml").write_text("validation: {policy: {wrong_crc: allow}}")
    assert run(tmp_path, "validate", str(tmp_path / "v")).exit_code == 0
    blocked = run(tmp_path, "validate", str(tmp_path / "v"), "--bounds", str(tmp_path / "rules.yaml"), "--json")
    assert (blocked.exit_code, lines(blocked.stdout)[0]["policy"][0]["now"]) == (1, "block")
    refused = modeldrop("validate", str(tmp_path / "v"), "--bounds", str(tmp_path / "wrong.yaml"))
    assert (refused.returncode, "wrong_crc always blocks" in refused.stderr, "Traceback" in refused.stderr) == (
        1,
        True,
        False,
    )


def test_half_an_export_is_incomplete(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "variables.index").write_bytes(b"x")
    ended = run(tmp_path, "validate", str(tmp_path), "--json")
    assert (ended.exit_code, lines(ended.stdout)[0]["verdict"]) == (3, "incomplete")


def test_a_path_that_is_not_there_is_a_usage_error(tmp_path):
    assert run(tmp_path, "validate", str(tmp_path / "nothing")).exit_code == 2


def test_a_bucket_is_audited_one_line_an_upload(home, drop):
    drop.put("digits/1/model.mar", small_mar())
    drop.put("digits/2/model.mar", b"no archive at all")
    drop.put("bad name/1/model.mar", small_mar())
    ended = run(home.root, "validate", "s3://drop", "--json")
    seen = [(r["key_prefix"], r["model_id"], r["version_id"], r["verdict"]) for r in lines(ended.stdout)]
    assert seen == [
        ("bad name/1/", None, None, "reject"),
        ("digits/1/", "digits", "1", "accept"),
        ("digits/2/", "digits", "2", "reject"),
    ]
    assert ended.exit_code == 1


def test_a_prefix_of_a_bucket_is_audited_alone(home, drop):
    drop.put("digits/1/model.mar", small_mar())
    drop.put("digits/2/model.mar", b"no archive at all")
    assert run(home.root, "validate", "s3://drop/digits/1/").exit_code == 0


def test_an_audit_writes_nothing(home, drop):
    drop.put("digits/1/model.mar", small_mar())
    run(home.root, "validate", "s3://drop")
    assert [item.key for item in drop.list()] == ["digits/1/model.mar"]


def test_an_empty_bucket_says_that_nothing_is_there(home, drop):
    assert run(home.root, "validate", "s3://drop").exit_code == 3


def test_another_s3_is_read_by_its_url_and_a_named_aws_profile(store, home, drop, tmp_path, monkeypatch):
    drop.put("digits/1/model.mar", small_mar())
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.aws_profile))
    endpoint = store[1].endpoint
    ended = run(tmp_path, "validate", "s3://drop", "--s3-endpoint", endpoint, "--profile", "modeldrop")
    assert ended.exit_code == 0


def test_a_profile_that_is_not_there_is_said_in_one_line(tmp_path):
    ended = run(tmp_path, "validate", "s3://drop", "--profile", "nobody")
    assert (ended.exit_code, "nobody" in ended.stderr, ended.stderr.count("\n")) == (4, True, 1)


def test_a_bucket_that_is_not_there_is_said_in_one_line(home, drop):
    ended = run(home.root, "validate", "s3://nobodys-bucket")
    assert (ended.exit_code, "nobodys-bucket" in ended.stderr, ended.stderr.count("\n")) == (1, True, 1)


def test_an_endpoint_that_is_no_url_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    ended = run(tmp_path, "validate", "s3://drop", "--s3-endpoint", "--wait")
    assert (ended.exit_code, "--s3-endpoint --wait" in ended.stderr, ended.stderr.count("\n")) == (2, True, 1)


def test_a_store_that_does_not_answer_is_unreachable(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    ended = run(tmp_path, "validate", "s3://drop", "--s3-endpoint", "http://127.0.0.1:1")
    assert (ended.exit_code, ended.stderr.count("\n")) == (4, 1)


def test_a_push_uploads_the_bytes_and_a_manifest_that_names_them(home, drop, mar):
    pushed = run(home.root, "push", str(mar), "digits/1", "--json")
    manifest = parse_manifest(drop.get("digits/1/_manifest.json"))
    assert (pushed.exit_code, json.loads(pushed.stdout)["files"]) == (0, ["model.mar"])
    assert [(f.path, f.size) for f in manifest.files] == [("model.mar", mar.stat().st_size)]
    assert drop.get("digits/1/model.mar") == mar.read_bytes()


def test_the_manifest_is_written_last(home, drop, tmp_path):
    for path in ("model.mar", "deploy.yaml", "golden.jsonl"):
        (tmp_path / path).write_bytes(small_mar() if path == "model.mar" else b"")
    run(home.root, "push", str(tmp_path), "digits/1")
    newest = max(drop.list("digits/1/"), key=lambda item: (item.modified, item.key == "digits/1/_manifest.json"))
    assert (newest.key, len(drop.list("digits/1/"))) == ("digits/1/_manifest.json", 4)


def test_a_folder_keeps_its_layout_without_an_old_manifest_and_our_own_reports(home, drop, tmp_path):
    (tmp_path / "variables").mkdir()
    for path in ("saved_model.pb", "variables/variables.index", "_manifest.json", "_report.json"):
        (tmp_path / path).write_bytes(b"x")
    pushed = run(home.root, "push", str(tmp_path), "digits/1", "--no-validate", "--json")
    assert json.loads(pushed.stdout)["files"] == ["saved_model.pb", "variables/variables.index"]


def test_what_would_be_rejected_is_not_uploaded(home, drop, broken):
    pushed = run(home.root, "push", str(broken), "digits/1")
    assert (pushed.exit_code, "fix:" in pushed.stderr, drop.list()) == (1, True, [])


def test_a_version_without_legal_ids_is_not_uploaded(home, drop, mar):
    assert (run(home.root, "push", str(mar), "digits").exit_code, drop.list()) == (1, [])


def test_a_push_into_a_bucket_that_is_not_there_is_a_no(home, mar):
    assert run(home.root, "push", str(mar), "digits/1", "--bucket", "nobodys-bucket").exit_code == 1


def test_a_registered_version_is_not_pushed_over(home, drop, mar):
    with SmallPlatform(home.root).serving() as platform:
        registered(platform.ports, "digits/1")
        pushed = platform.run("push", str(mar), "digits/1", "--wait")
    assert (pushed.exit_code, "another VERSION_ID" in pushed.stderr, drop.list()) == (1, True, [])


def test_a_push_that_nobody_takes_up_times_out(home, drop, mar):
    with SmallPlatform(home.root).serving() as platform:
        pushed = platform.run("push", str(mar), "digits/1", "--wait", "--timeout", "0")
    assert (pushed.exit_code, "digits/1 is not live" in pushed.stderr) == (3, True)


@pytest.mark.parametrize(
    ("happens", "status", "what"),
    [
        (lambda ports: None, None, "waiting"),
        (lambda ports: uploading(ports, "digits/1/", "a.index"), None, "a.index"),
        (lambda ports: rejected(ports, "digits/1/"), 1, "no 'serve' tag"),
        (lambda ports: registered(ports, "digits/1"), None, "registered"),
        (lambda ports: rolling(ports, "digits/1"), None, "starting"),
        (lambda ports: ended_as(ports, "digits/1", Phase.PROMOTED, "4 errors"), 0, "promoted"),
        (lambda ports: ended_as(ports, "digits/1", Phase.ROLLED_BACK, "4 errors"), 1, "4 errors"),
        (lambda ports: ended_as(ports, "digits/1", Phase.FAILED, "4 errors"), 1, "failed"),
        (lambda ports: ended_as(ports, "digits/1", Phase.SUPERSEDED, "4 errors"), 1, "superseded"),
    ],
)
def test_a_version_is_followed_to_its_end(tmp_path, happens, status, what):
    with SmallPlatform(tmp_path).serving() as serving, Platform.of(Settings(Home(tmp_path))) as platform:
        happens(serving.ports)
        sight = look(REF, platform, before=None)
    assert (sight.status, what in sight.what) == (status, True)


@pytest.mark.parametrize(("second", "status"), [(Phase.STARTING, None), (Phase.PROMOTED, 0), (Phase.ROLLED_BACK, 1)])
def test_a_version_for_several_endpoints_is_followed_to_the_end_of_each(tmp_path, second, status):
    with SmallPlatform(tmp_path).serving() as serving, Platform.of(Settings(Home(tmp_path))) as platform:
        ended_as(serving.ports, "digits/1", Phase.PROMOTED, "good")
        other = open_rollout(REF, serving.ports, endpoint="other")
        stored = Records(serving.ports.registry).get(Rollout, other)
        serving.ports.registry.commit([stored.to(phase=second, reason="4 errors").write])
        sight = look(REF, platform, before=None)
    assert sight.status == status
    assert "digits: promoted (good); other: " in sight.what


def test_a_version_that_a_split_holds_back_says_so(tmp_path):
    with SmallPlatform(tmp_path).serving() as serving, Platform.of(Settings(Home(tmp_path))) as platform:
        registered(serving.ports, "digits/1")
        manual = ManualSplit("s", {"d": 100}, serving.ports.clock())
        serving.ports.registry.commit([Stored("digits", Endpoint("digits", "digits", kept=manual)).write])
        assert "digits has a manual split, which holds rollouts back" in look(REF, platform, before=None).what


def test_the_rejection_of_an_earlier_upload_is_not_this_ones(tmp_path):
    with SmallPlatform(tmp_path).serving() as serving, Platform.of(Settings(Home(tmp_path))) as platform:
        rejected(serving.ports, "digits/1/")
        before = platform.get("/v1/models/digits/versions/1")
        assert look(REF, platform, before).status is None


def modeldrop(*args):
    command = [str(Path(sys.executable).with_name("modeldrop")), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "args",
    [
        ("up", "--store", "floppy"),
        ("up", "--cert", "a.pem"),
        ("up", "--steps", "50,5,100"),
        ("up", "--steps", "5,50"),
        ("up", "--steps", "half"),
        ("up", "--fleet", "podman"),
        ("no-such-command",),
        ("--url", "https://localhost:1", "status"),
    ],
)
def test_wrong_usage_is_status_2_and_no_traceback(args):
    ended = modeldrop(*args)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)


@pytest.mark.parametrize("text", ["max_replicas: many", "max_replica: 3", "a: [", "[]"])
def test_bounds_that_cannot_be_read_are_named(tmp_path, text):
    (tmp_path / "bounds.yaml").write_text(text)
    ended = modeldrop("--home", str(tmp_path / "home"), "up", "--bounds", str(tmp_path / "bounds.yaml"))
    assert (ended.returncode, "bounds.yaml" in ended.stderr, "Traceback" in ended.stderr) == (1, True, False)
