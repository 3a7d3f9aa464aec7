"""From a dropped upload to a registered version with an open rollout: the listing decides, events only wake."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.manifest import manifest_of
from chalicelib.domain.refs import VersionRef, is_ours
from chalicelib.domain.rollout import Rollout
from chalicelib.domain.version import Version, version_digest
from chalicelib.pipeline.ports import Gone
from chalicelib.pipeline.re_sync import re_sync
from chalicelib.pipeline.records import Drop, Records
from chalicelib.pipeline.sealing import StreamingSealer
from tests.fakes import FakeBucket
from tests.fakes_artifacts import small_mar
from tests.fakes_pipeline import FakeClock, fake_ports, settle

REF = VersionRef("digits", "v1")
MAR = small_mar()


@pytest.fixture
def ports():
    clock = FakeClock()
    return fake_ports(drop=FakeBucket(clock=clock), store=FakeBucket(clock=clock), clock=clock)


def quiet_look(ports, prefix=REF.prefix):
    ports.clock.tick(seconds=30)
    settle(prefix, ports)


def kinds(ports):
    return [t.kind for t in ports.registry.unsent(1000)]


def report(ports, key="digits/v1/_report.json"):
    return json.loads(ports.drop.get(key))


def test_a_good_upload_becomes_a_version_whose_bytes_are_sealed_and_a_rollout(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    quiet_look(ports)
    version = Records(ports.registry).version(REF).value
    assert ports.store.get(version.store_prefix + "model.mar") == MAR
    assert version.digest == version_digest(version.files)
    assert kinds(ports) == ["drop.seen", "version.registered", "rollout.opened"]
    assert report(ports)["verdict"] == "accept"
    assert report(ports)["digest"] == version.digest


def test_an_upload_that_still_grows_waits_and_is_visible_as_uploading(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    settle(REF.prefix, ports)
    assert Records(ports.registry).get(Drop, REF.prefix).value.status == "uploading"
    assert ports.timers.due["look:digits/v1/"] == ports.clock() + ports.quiet
    assert Records(ports.registry).version(REF) is None


def test_an_upload_with_a_manifest_needs_no_quiet_period(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    ports.drop.put("digits/v1/_manifest.json", manifest_of([("model.mar", [MAR])]).to_json())
    settle(REF.prefix, ports)
    assert [f.path for f in Records(ports.registry).version(REF).value.files] == ["model.mar"]


def test_a_file_that_isnt_what_the_manifest_promised_rejects_and_seals_nothing(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    lie = manifest_of([("model.mar", [b"x" * len(MAR)])])
    ports.drop.put("digits/v1/_manifest.json", lie.to_json())
    settle(REF.prefix, ports)
    assert report(ports)["findings"][0]["code"] == "digest_mismatch"
    assert ports.store.list() == []
    assert Records(ports.registry).version(REF) is None


def test_the_same_hint_twenty_times_gives_one_registration_and_one_rollout(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    for _ in range(20):
        quiet_look(ports)
    assert kinds(ports) == ["drop.seen", "version.registered", "rollout.opened"]
    assert len(ports.store.list()) == 1


def test_our_own_reports_start_nothing_and_are_written_once(ports):
    ports.drop.put("digits/v1/model.mar", b"no zip")
    quiet_look(ports)
    versions = [(o.key, o.version_id) for o in ports.drop.list()]
    assert {k for k, _ in versions if is_ours(k)} == {"digits/v1/_report.json", "digits/v1/_report.txt"}
    quiet_look(ports)
    assert [(o.key, o.version_id) for o in ports.drop.list()] == versions
    assert kinds(ports) == ["drop.rejected"]


def test_a_rejected_upload_is_judged_anew_when_its_bytes_change(ports):
    ports.drop.put("digits/v1/model.mar", b"no zip")
    quiet_look(ports)
    ports.drop.put("digits/v1/model.mar", MAR)
    quiet_look(ports)
    assert kinds(ports) == ["drop.rejected", "version.registered", "rollout.opened"]


def test_objects_that_change_under_a_registered_version_are_told_once_and_change_nothing(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    quiet_look(ports)
    before = Records(ports.registry).version(REF)
    ports.drop.put("digits/v1/model.mar", small_mar("def handle(data, context): return data"))
    quiet_look(ports)
    quiet_look(ports)
    assert Records(ports.registry).version(REF) == before
    assert kinds(ports).count("version.changed") == 1


@pytest.mark.parametrize(
    ("key", "reported"),
    [
        ("bad name/v1/model.mar", "_reports/bad%20name%2Fv1.json"),
        ("model.mar", "_reports/%28root%29.json"),
        ("digits/model.mar", "_reports/digits.json"),
    ],
)
def test_an_upload_without_legal_ids_is_reported_where_the_uploader_can_see_it(ports, key, reported):
    ports.drop.put(key, MAR)
    ports.clock.tick(seconds=30)
    re_sync(ports)
    for name in [n for n in ports.timers.due if n.startswith("look:")]:
        settle(name.removeprefix("look:"), ports)
    assert report(ports, reported)["findings"][0]["code"] == "illegal_name"


def test_a_deploy_yaml_past_the_operators_bounds_rejects_and_says_the_bound(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    ports.drop.put("digits/v1/deploy.yaml", b"replicas: 99")
    quiet_look(ports)
    finding = report(ports)["findings"][-1]
    assert (finding["code"], finding["where"]) == ("past_bound", "deploy.yaml")
    assert str(ports.bounds.max_replicas) in finding["message"]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[1, 2]", b"a: [", b"nothing_of_ours: 1"])
def test_a_deploy_yaml_that_isnt_one_rejects(ports, text):
    ports.drop.put("digits/v1/model.mar", MAR)
    ports.drop.put("digits/v1/deploy.yaml", text)
    quiet_look(ports)
    assert report(ports)["findings"][-1]["code"] == "bad_deploy_yaml"


def test_an_endpoint_of_another_model_needs_a_grant(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    quiet_look(ports)
    ports.drop.put("intruder/v1/model.mar", MAR)
    ports.drop.put("intruder/v1/deploy.yaml", b"endpoint: digits")
    quiet_look(ports, "intruder/v1/")
    assert report(ports, "intruder/v1/_report.json")["findings"][-1]["code"] == "not_your_endpoint"


def test_one_endpoint_of_another_model_among_several_rejects_the_upload_as_a_whole(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    quiet_look(ports)
    ports.drop.put("intruder/v1/model.mar", MAR)
    ports.drop.put("intruder/v1/deploy.yaml", b"endpoints: [mine, digits]")
    quiet_look(ports, "intruder/v1/")
    assert report(ports, "intruder/v1/_report.json")["findings"][-1]["code"] == "not_your_endpoint"
    assert [e.id for e in Records(ports.registry).list(Endpoint)] == ["digits"]


def test_bytes_replaced_between_listing_and_sealing_are_never_sealed_as_the_old_ones(ports):
    class Replaced(FakeBucket):
        def stream(self, item):
            raise Gone(item.key)

    drop = Replaced(clock=ports.clock)
    drop.put("digits/v1/model.mar", MAR)
    ports = replace(ports, drop=drop)
    quiet_look(ports)
    assert Records(ports.registry).version(REF) is None
    assert ports.store.list() == []
    assert "look:digits/v1/" in ports.timers.due


def test_a_rollout_that_a_crash_left_unopened_is_opened_by_the_re_sync(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    quiet_look(ports)
    records = Records(ports.registry)
    for kind, stored in (("rollout", records.list(Rollout)[0]), ("endpoint", records.endpoint("digits"))):
        ports.registry.commit([replace(stored.write, kind=kind, body=None)])
    re_sync(ports)
    assert [r.value.ref for r in records.list(Rollout)] == [REF]


def test_a_re_sync_wakes_what_is_not_settled_and_nothing_else(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    ports.drop.put("digits/v2/model.mar", b"no zip")
    quiet_look(ports)
    quiet_look(ports, "digits/v2/")
    ports.drop.put("digits/v3/model.mar", MAR)
    ports.timers.due.clear()
    re_sync(ports)
    assert [n for n in ports.timers.due if n.startswith("look:")] == ["look:digits/v3/"]
    ports.drop.put("digits/v2/model.mar", MAR)
    re_sync(ports)
    assert "look:digits/v2/" in ports.timers.due


def test_an_older_version_without_a_rollout_never_supersedes_a_newer_one(ports):
    for version_id in ("v1", "v2"):
        ports.drop.put(f"digits/{version_id}/model.mar", MAR)
        quiet_look(ports, f"digits/{version_id}/")
    records = Records(ports.registry)
    first = next(r for r in records.list(Rollout) if r.value.ref == REF)
    ports.registry.commit([replace(first.write, body=None)])
    re_sync(ports)
    assert [r.value.ref.version_id for r in records.list(Rollout)] == ["v2"]


def test_two_attempts_at_one_upload_leave_one_version_and_one_sealed_copy(ports):
    class Racing(FakeBucket):
        """Another attempt registers while this one copies."""

        raced = False

        def put_parts(self, key, parts):
            super().put_parts(key, parts)
            if not self.raced:
                self.raced = True
                settle(REF.prefix, ports)

    ports.drop.put("digits/v1/model.mar", MAR)
    store = Racing(clock=ports.clock)
    ports = replace(ports, store=store, sealer=StreamingSealer(ports.drop, store))
    quiet_look(ports)
    settle(REF.prefix, ports)
    version = Records(ports.registry).list(Version)
    assert len(version) == 1
    assert [o.key for o in store.list()] == [version[0].value.store_prefix + "model.mar"]
    assert kinds(ports).count("version.registered") == 1


def test_a_quiet_period_begins_with_the_newest_file(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    ports.clock.tick(seconds=4)
    ports.drop.put("digits/v1/deploy.yaml", b"steps: [50, 100]")
    ports.clock.tick(seconds=4)
    settle(REF.prefix, ports)
    assert Records(ports.registry).version(REF) is None
    ports.clock.tick(seconds=1)
    settle(REF.prefix, ports)
    assert Records(ports.registry).list(Rollout)[0].value.plan.steps == (50, 100)


def test_an_open_multipart_upload_holds_the_judgement(ports):
    ports.drop.put("digits/v1/model.mar", MAR)
    ports.drop.begin_upload("digits/v1/model.mar")
    quiet_look(ports)
    assert Records(ports.registry).version(REF) is None
    ports.clock.tick(days=1, seconds=1)
    quiet_look(ports)
    assert Records(ports.registry).version(REF)
    assert timedelta(seconds=5) == ports.quiet
