"""Uploads as they really arrive: file by file in any order, late, doubled, by others' tools."""

import itertools
import json
import queue
import random
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chalicelib.domain.refs import VersionRef, is_ours
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import Version
from chalicelib.local.answering import Receiver, answer
from chalicelib.local.home import Home
from chalicelib.local.sqlite import SqliteRegistry
from chalicelib.local.stores import MinIO
from chalicelib.local.wakeups import Wakeups
from chalicelib.pipeline.records import Records
from chalicelib.pipeline.wakeups import LOOK, REGISTER, wake_upload
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeBus, FakeFleet, FakeMetrics, fake_ports
from tests.platform_world import MODELDROP, aws, platform, until

pytestmark = pytest.mark.alone

QUIET = 3.0  # seconds
TOKEN = "token-of-the-test"
PACE = ("--step-time", "2", "--min-requests", "10", "--quiet-period", "2")


class Posted(BaseHTTPRequestHandler):
    """Hands MinIO's events to the receiver, and keeps them to be sent again."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.server.kept.put((headers, body))
        self.send_response(self.server.receive(headers, body))
        self.end_headers()

    def log_message(self, *_):
        pass


class Pipeline:
    """The real pipeline on real MinIO, its events and SQLite; only the fleet is a fake, so that it starts nothing."""

    def __init__(self, home: Path) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Posted)
        self._server.kept = queue.Queue()
        receiver = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._store = MinIO(Home(home), receiver=receiver, token=TOKEN)
        self.connected = self._store.start()
        registry = SqliteRegistry(Home(home).registry)
        self._wakeups = Wakeups(lambda name: answer(name, self.ports))
        self.ports = fake_ports(
            drop=self.connected.drop,
            store=self.connected.store,
            registry=registry,
            fleet=FakeFleet(),
            metrics=FakeMetrics(),
            timers=self._wakeups,
            bus=FakeBus(),
            clock=lambda: datetime.now(UTC),
            quiet=timedelta(seconds=QUIET),
        )
        self._server.receive = Receiver(self._store.events(), lambda prefix: wake_upload(prefix, self.ports))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._wakeups.start()

    def events(self) -> list[tuple[dict, bytes]]:
        kept = self._server.kept
        return [kept.get() for _ in range(kept.qsize())]

    def send_again(self, event: tuple[dict, bytes]) -> int:
        return self._server.receive(*event)

    def settle(self) -> None:
        """Wait until no upload is to be looked at within the next seconds."""
        until(lambda: not self._soon(), 60, "quiet")

    def _soon(self) -> list[str]:
        near = datetime.now(UTC) + timedelta(seconds=2 * QUIET)
        due = [name for name, at in dict(self._wakeups._due).items() if at < near]
        return [name for name in (*due, *self._wakeups._busy) if name.startswith((LOOK, REGISTER))]

    def close(self) -> None:
        self._wakeups.stop()
        self._server.shutdown()
        self._server.server_close()
        self._store.stop()
        self.ports.registry.close()


@pytest.fixture
def pipeline(tmp_path):
    opened = Pipeline(tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def keras_export(saved_models):
    folder = saved_models / "keras"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_order_of_a_keras_export_starts_exactly_one_rollout_and_only_when_whole(pipeline, keras_export):
    orders = list(itertools.permutations(keras_export))
    assert len(orders) == 24
    for turn in range(4):
        for number, order in enumerate(orders):
            pipeline.ports.drop.put(f"m{number}/v1/{order[turn]}", keras_export[order[turn]])
        if turn < 2:
            time.sleep(1.2 * QUIET)  # being quiet is not being whole
            pipeline.settle()
            assert Records(pipeline.ports.registry).list(Version) == []
    refs = [VersionRef(f"m{n}", "v1") for n in range(24)]
    until(lambda: len(Records(pipeline.ports.registry).list(Version)) == 24, 60, "all registered")
    pipeline.settle()
    versions = [v.value for v in Records(pipeline.ports.registry).list(Version)]
    assert len({v.digest for v in versions}) == 1
    rollouts = [r.value.ref for r in Records(pipeline.ports.registry).list(Rollout)]
    assert sorted(rollouts) == sorted(refs)


def test_one_event_twenty_times_and_out_of_order_gives_one_registration(pipeline):
    pipeline.ports.drop.put("m/v1/README.md", b"hello")
    pipeline.ports.drop.put("m/v1/model.mar", small_mar())
    until(lambda: Records(pipeline.ports.registry).version(VersionRef("m", "v1")), 30, "registered")
    events = pipeline.events() * 20
    assert len(events) >= 40
    random.Random(7).shuffle(events)
    assert {pipeline.send_again(event) for event in events} == {200}
    pipeline.settle()
    kinds = [t.kind for t in pipeline.ports.bus.published]
    assert (kinds.count("version.registered"), kinds.count("rollout.opened")) == (1, 1)
    sealed = {o.key.rpartition("/")[0] for o in pipeline.ports.store.list()}
    assert len(sealed) == 1


def test_an_event_without_the_stores_token_is_refused(pipeline):
    assert pipeline.send_again(({"authorization": "Bearer guess"}, b"{}")) == 403
    assert pipeline.send_again(({"authorization": f"Bearer {TOKEN}"}, b"not json")) == 200


def test_our_own_reports_in_the_drop_start_nothing(pipeline):
    pipeline.ports.drop.put("m/v1/model.mar", b"not a zip")
    pipeline.ports.drop.put("bad name/v1/model.mar", b"x")
    until(lambda: len([o for o in pipeline.ports.drop.list() if is_ours(o.key)]) == 3, 30, "three reports")
    pipeline.settle()
    ours = [o for o in pipeline.ports.drop.list() if is_ours(o.key)]
    told = list(pipeline.ports.bus.published)
    for event in pipeline.events():
        pipeline.send_again(event)
    pipeline.settle()
    assert [o for o in pipeline.ports.drop.list() if is_ours(o.key)] == ours
    assert pipeline.ports.bus.published == told


# --- the whole platform ----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("uploads") / "home", *PACE) as started:
        yield started


def curl(running, key, name, body, *more):
    """The real curl; returns (status, headers and body)."""
    command = [
        *("curl", "-sS", "-i", "--cacert", running.connection["ca"], "-H", f"Authorization: Bearer {key}"),
        *("-H", "Content-Type: application/json", *more, "-d", body, f"{running.url}/v1/endpoints/{name}/predict"),
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return int(out.split()[1]), out


def test_a_keras_export_whose_shard_comes_late_serves_predictions_called_with_curl(running, keras_export):
    shard = next(path for path in keras_export if ".data-" in path)
    running.drop("late/v1/", {path: body for path, body in keras_export.items() if path != shard})
    missing = until(lambda: running.get("/v1/models/late/versions/v1").get("missing"), 30, "uploading")
    until(lambda: shard in str(running.get("/v1/models/late/versions/v1")["missing"]), 30, f"says {shard}: {missing}")
    assert running.phase("late", "v1") == ""
    running.drop("late/v1/", {shard: keras_export[shard]})
    running.await_phase("late", "v1", "promoted", 120)
    key = running.key("predict:late")["key"]
    schema = running.get("/v1/models/late/versions/v1")["schema"]
    width = next(iter(schema["inputs"].values()))["shape"][1]
    status, answer = curl(running, key, "late", json.dumps({"instances": [[0.5] * width, [1.0] * width]}))
    assert status == 200, answer
    served = json.loads(answer.rpartition("\n\n")[2])
    assert len(served["predictions"]) == 2
    assert served["served_by"]["version"] == "v1"
    assert served["served_by"]["digest"] == running.get("/v1/models/late/versions/v1")["digest"]


def test_the_aws_cli_drops_an_archive_and_a_folder(running, tmp_path):
    (tmp_path / "model.mar").write_bytes(small_mar())
    done = aws(running, "s3", "cp", str(tmp_path / "model.mar"), "s3://drop/awscp/v1/model.mar")
    assert done.returncode == 0, done.stderr
    (tmp_path / "README.md").write_text("synced")
    done = aws(running, "s3", "sync", str(tmp_path), "s3://drop/awssync/v1/")
    assert done.returncode == 0, done.stderr
    for name in ("awscp", "awssync"):
        running.await_phase(name, "v1", "promoted")
    assert aws(running, "s3", "cp", str(tmp_path / "model.mar"), "s3://model-store/x/v1/model.mar").returncode != 0


def test_an_uploader_reads_in_the_bucket_what_was_wrong(running, tmp_path):
    (tmp_path / "model.mar").write_bytes(b"<html>404 not found</html>")
    aws(running, "s3", "cp", str(tmp_path / "model.mar"), "s3://drop/broken/v1/model.mar")
    until(lambda: running.get("/v1/models/broken/versions/v1").get("status") == "rejected", 30, "rejected")
    until(lambda: "_report.txt" in aws(running, "s3", "ls", "s3://drop/broken/v1/").stdout, 30, "a report")
    report = aws(running, "s3", "cp", "s3://drop/broken/v1/_report.txt", "-").stdout
    assert "model.mar" in report
    assert "HTML" in report


def test_push_writes_the_manifest_last_waits_and_says_how_it_ended(running, tmp_path):
    (tmp_path / "model.mar").write_bytes(small_mar())
    done = running.cli("push", str(tmp_path / "model.mar"), "pushed/v1", "--wait")
    assert done.returncode == 0, done.stderr + done.stdout
    assert running.serving("pushed") == "v1"
    listed = running.s3.list_objects_v2(Bucket="drop", Prefix="pushed/v1/")["Contents"]
    ours = [o for o in listed if not is_ours(o["Key"])]
    assert max(ours, key=lambda o: o["LastModified"])["Key"].endswith("_manifest.json") or len(ours) == 2


def test_keys_that_are_wrong_missing_or_revoked_are_refused_and_bad_bodies_name_the_field(running):
    running.drop("guard/v1/", {"model.mar": small_mar()})
    running.await_phase("guard", "v1", "promoted")
    made = running.key("predict:guard")
    other = running.key("predict:another")["key"]
    assert curl(running, made["key"], "guard", '{"instances": [1]}')[0] == 200
    assert curl(running, "md_none", "guard", '{"instances": [1]}')[0] == 401
    assert curl(running, other, "guard", '{"instances": [1]}')[0] == 403
    status, answer = curl(running, made["key"], "guard", '{"instances": 7}')
    assert status == 400
    assert "instances" in answer
    assert curl(running, made["key"], "guard", '{"instances": [1,}')[0] == 400
    running.ask("DELETE", f"/v1/keys/{made['id']}")
    assert curl(running, made["key"], "guard", '{"instances": [1]}')[0] == 401
    with running.client() as client:
        del client.headers["Authorization"]
        assert client.post("/v1/endpoints/guard/predict", json={"instances": [1]}).status_code == 401


def test_the_command_line_shows_what_the_platform_does(running):
    assert MODELDROP
    status = running.cli("status")
    assert status.returncode == 0
    assert "broken" in status.stdout
    assert json.loads(running.cli("status", "--json").stdout)
