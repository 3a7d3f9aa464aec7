"""The command line over the control API: what it says, and with which status it ends."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import chalicelib
from chalicelib.domain.deployment import FleetState, Running
from chalicelib.domain.rollout import Phase, Rollout
from chalicelib.domain.split import Split
from chalicelib.local.cli.logs import Tail
from chalicelib.local.cli.program import app
from chalicelib.pipeline.advance import advance
from chalicelib.pipeline.dividing import divide
from chalicelib.pipeline.keys import make_key
from chalicelib.pipeline.records import Records
from tests.api_caller import ended_as, registered, rejected, rolling, stepping, uploading
from tests.fakes_pipeline import traffic
from tests.local.cli_platform import SmallPlatform, run


@pytest.fixture
def platform(tmp_path):
    with SmallPlatform(tmp_path).serving() as serving:
        yield serving


def test_each_command_is_documented():
    page = (Path(chalicelib.__file__).parents[1] / "docs" / "cli.md").read_text()
    named = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert {name for name in named if f"**`{name}" not in page} == set()


def test_without_a_platform_it_says_how_to_get_one(tmp_path):
    ended = run(tmp_path, "status")
    assert (ended.exit_code, "modeldrop up" in ended.stderr, ended.stderr.count("\n")) == (4, True, 1)


def test_a_platform_that_does_not_answer_is_unreachable(tmp_path):
    (tmp_path / "connection.json").write_text('{"url": "http://127.0.0.1:1", "ca": "", "key": "k"}')
    ended = run(tmp_path, "status")
    assert (ended.exit_code, "http://127.0.0.1:1" in ended.stderr, ended.stderr.count("\n")) == (4, True, 1)


def test_a_broken_connection_file_is_named(tmp_path):
    (tmp_path / "connection.json").write_text("{")
    ended = run(tmp_path, "status")
    assert (ended.exit_code, str(tmp_path / "connection.json") in ended.stderr) == (4, True)


def test_a_url_needs_its_key(tmp_path):
    assert run(tmp_path, "--url", "https://localhost:1", "status").exit_code == 2


def test_a_wrong_key_is_a_no_with_the_platforms_own_words(platform):
    ended = platform.run("--key", "md_other", "status")
    assert (ended.exit_code, ended.stderr) == (1, "modeldrop: this API key does not exist\n")


def test_what_answers_something_else_is_no_platform(platform):
    platform.answers["/v1/models"] = (200, {}, b"<html>")
    assert platform.run("status").exit_code == 4


def test_status_of_nothing_says_what_to_do(platform):
    assert "modeldrop push" in platform.run("status").stdout


def test_status_shows_versions_endpoints_rollouts_and_what_is_missing(platform):
    rolling(platform.ports, "digits/1")
    uploading(platform.ports, "faces/7/", "variables/variables.index")
    rejected(platform.ports, "faces/8/")
    shown = platform.run("status").stdout
    for text in ("digits", "sha256:digits/1", "starting", "faces/7/", "variables/variables.index", "no 'serve' tag"):
        assert text in shown


def test_status_for_machines_is_one_json(platform):
    rolling(platform.ports, "digits/1")
    seen = json.loads(platform.run("status", "--json").stdout)
    assert (seen["endpoints"][0]["name"], seen["versions"][0]["status"]) == ("digits", "registered")


def test_a_list_is_read_to_its_end(platform):
    for n in range(103):
        make_key(platform.ports.registry, platform.ports.clock, name=f"key {n}", scopes=["deploy"])
    assert len(json.loads(platform.run("keys", "list", "--json").stdout)) == 103


def test_watch_shows_counts_the_verdict_and_the_samples_it_needs(platform):
    stepping(platform.ports, "digits/1")
    canary = platform.ports.fleet.deployments()[0]
    platform.ports.metrics.seen[canary] = traffic(20, errors=3, ms=7)
    shown = platform.run("watch", "digits", "--once").stdout
    judged = json.loads(platform.run("watch", "digits", "--once", "--json").stdout)["rollout"]["judgement"]
    for text in ("endpoint digits", "20", "canary", judged["outcome"], judged["reason"]):
        assert text in " ".join(shown.split())


def test_watch_says_how_long_the_steps_take_at_the_rate_of_late(platform):
    rollout = Records(platform.ports.registry).get(Rollout, stepping(platform.ports, "digits/1"))
    endpoint = Records(platform.ports.registry).endpoint("digits")
    split = Split.between("v0", rollout.value.canary.id, 5, "")
    platform.ports.registry.commit([rollout.to(stable="v0").write, endpoint.to(split=split).write])
    shown = " ".join(platform.run("watch", "digits", "--once").stdout.split())
    assert "never at this rate" in shown
    platform.ports.metrics.rates["v0"] = 10.0
    shown = " ".join(platform.run("watch", "digits", "--once").stdout.split())
    assert "it needs 1000 at 5 %, 200 at 25 %, 100 at 50 % of the endpoint's requests" in shown
    assert "100 s, 60 s, 60 s at 10 a second" in shown
    assert "(needs 50 more canary requests, about 100 s at 10 requests a second)" in shown


def test_watch_shows_why_a_deployment_failed(platform):
    rolling(platform.ports, "digits/1")
    canary = platform.ports.fleet.deployments()[0]
    platform.ports.fleet.running[canary] = Running(FleetState.FAILED, reason="[Errno 2] weights.pt")
    shown = platform.run("watch", "--once").stdout
    assert "[Errno 2]" in " ".join(shown.split())


def test_watch_of_an_endpoint_that_is_not_there_is_a_no(platform):
    assert platform.run("watch", "nobody", "--once").exit_code == 1


@pytest.mark.parametrize("command", ["promote", "abort", "rollback", "pause", "resume"])
def test_steering_is_told_to_the_platform(platform, command):
    rolling(platform.ports, "digits/1")
    assert platform.run(command, "digits").exit_code == 0
    assert platform.received[-1][0] == f"/v1/endpoints/digits/{command}"


@pytest.mark.parametrize("command", ["promote", "abort", "rollback", "pause", "resume"])
def test_steering_what_is_not_there_is_a_no(platform, command):
    ended = platform.run(command, "nobody")
    assert (ended.exit_code, "nobody" in ended.stderr) == (1, True)


def test_a_registered_version_can_be_started(platform):
    registered(platform.ports, "digits/1")
    started = platform.run("start", "digits", "digits/1", "--json")
    assert (started.exit_code, json.loads(started.stdout)["phase"]) == (0, "starting")


def test_an_alias_is_set_listed_followed_and_removed(platform):
    registered(platform.ports, "digits/1")
    platform.run("start", "digits", "digits/1")
    advance("digits", platform.ports)
    said = platform.run("alias", "set", "digits", "blue", "digits/1")
    listed = platform.run("alias", "list", "digits", "--json")
    removed = platform.run("alias", "remove", "digits", "blue")
    assert (said.stdout, json.loads(listed.stdout)) == ("blue of digits is digits/1\n", {"blue": "digits/1"})
    assert (removed.exit_code, removed.stdout) == (0, "blue of digits is removed\n")


def test_an_alias_of_what_does_not_run_is_a_no_that_says_what_to_do(platform):
    registered(platform.ports, "digits/1")
    platform.run("start", "digits", "digits/1")
    ended = platform.run("alias", "set", "digits", "blue", "digits/1")
    assert (ended.exit_code, "once it is ready" in ended.stderr) == (1, True)


def test_a_split_is_asked_for_shown_and_ended(platform):
    for name in ("digits/1", "digits/2"):
        registered(platform.ports, name)
    platform.run("start", "digits", "digits/1")
    advance("digits", platform.ports)
    advance("digits", platform.ports)
    asked = platform.run("split", "digits", "1=60", "digits/2=40")
    assert (asked.exit_code, json.loads(platform.received[-1][2])) == (0, {"weights": {"digits/1": 60, "digits/2": 40}})
    assert platform.run("split", "digits").stdout == "digits/1 100 %\nasked for: digits/1 60 %, digits/2 40 %\n"
    assert platform.run("split", "digits", "--end", "1").exit_code == 0
    assert platform.received[-1][0] == "/v1/endpoints/digits/split?to=digits%2F1"


def test_watch_shows_a_split_by_hand_and_peoples_own_names(platform):
    for name in ("digits/1", "digits/2"):
        registered(platform.ports, name)
    platform.run("start", "digits", "digits/1")
    for _ in range(2):
        advance("digits", platform.ports)
    platform.run("alias", "set", "digits", "blue", "digits/1")
    platform.run("split", "digits", "1=60", "2=40")
    asked = " ".join(platform.run("watch", "digits", "--once").stdout.split())
    assert "blue" in asked
    assert "asked for by hand: digits/1 60 %, digits/2 40 %; in force once all are ready" in asked
    for _ in range(2):
        divide("digits", platform.ports)
    assert "a split by hand is kept" in platform.run("watch", "digits", "--once").stdout


@pytest.mark.parametrize("arguments", [["1"], ["1=x"], ["=50"], ["1=60", "--end", "1"]])
def test_what_is_no_split_is_wrong_usage(platform, arguments):
    registered(platform.ports, "digits/1")
    platform.run("start", "digits", "digits/1")
    assert platform.run("split", "digits", *arguments).exit_code == 2


def test_predict_may_ask_for_an_alias_or_a_version(platform):
    platform.answers["/v1/endpoints/digits/predict"] = (200, {}, b"{}")
    platform.run("predict", "digits", "[1]", "--alias", "blue")
    platform.run("predict", "digits", "[1]", "--version", "v2")
    sent = [headers for _, headers, _ in platform.received]
    assert (sent[0]["x-modeldrop-alias"], sent[1]["x-modeldrop-version"]) == ("blue", "v2")


def test_an_illegal_version_is_said_before_anything_is_asked(platform):
    ended = platform.run("start", "digits", "digits/1/2")
    assert (ended.exit_code, platform.received) == (1, [])


def test_a_key_is_made_shown_once_listed_and_revoked(platform):
    made = json.loads(platform.run("keys", "make", "ci", "--scope", "deploy", "--scope", "predict:a", "--json").stdout)
    revoked = platform.run("keys", "revoke", made["id"])
    listed = json.loads(platform.run("keys", "list", "--json").stdout)
    assert (made["key"][:3], made["scopes"], revoked.exit_code) == ("md_", ["deploy", "predict:a"], 0)
    assert (listed[0]["id"], listed[0]["revoked"] is not None) == (made["id"], True)


def test_the_key_alone_is_on_stdout_for_a_script(platform):
    assert platform.run("keys", "make", "ci", "--scope", "deploy").stdout.startswith("md_")


def test_a_scope_that_does_not_exist_is_a_no(platform):
    ended = platform.run("keys", "make", "ci", "--scope", "root")
    assert (ended.exit_code, "root" in ended.stderr) == (1, True)


def test_predict_sends_json_and_says_who_answered(platform):
    platform.answers["/v1/endpoints/digits/predict"] = (200, {"X-Modeldrop-Version": "2"}, b'{"predictions": [1]}')
    answered = platform.run("predict", "digits", '{"instances": [1]}', "--sticky-key", "me")
    _, headers, body = platform.received[-1]
    assert (answered.exit_code, json.loads(answered.stdout)) == (0, {"predictions": [1]})
    assert "version: 2" in answered.stderr
    assert (headers["content-type"], headers["x-modeldrop-key"], body) == (
        "application/json",
        "me",
        b'{"instances": [1]}',
    )


def test_predict_sends_a_file_with_the_type_of_its_name(platform, tmp_path):
    platform.answers["/v1/endpoints/digits/predict"] = (200, {}, b"[1]")
    image = tmp_path / "seven.png"
    image.write_bytes(b"\x89PNG")
    answered = platform.run("predict", "digits", str(image), "--json")
    assert json.loads(answered.stdout) == {"status": 200, "answered_by": {}, "body": [1]}
    assert (platform.received[-1][1]["content-type"], platform.received[-1][2]) == ("image/png", b"\x89PNG")


def test_predict_reads_stdin(platform):
    platform.answers["/v1/endpoints/digits/predict"] = (200, {}, b"[1]")
    platform.run("predict", "digits", "-", stdin=b"[7]")
    assert platform.received[-1][2] == b"[7]"


def test_predict_of_what_is_neither_file_nor_json_is_a_usage_error(platform):
    assert platform.run("predict", "digits", "no-such-file.json").exit_code == 2


def test_a_failed_prediction_is_a_no_that_shows_the_answer(platform):
    platform.answers["/v1/endpoints/digits/predict"] = (500, {}, b'{"error": {"message": "division by zero"}}')
    answered = platform.run("predict", "digits", "[1]")
    assert (answered.exit_code, "division by zero" in answered.stdout) == (1, True)


def log(platform, name, *lines):
    folder = platform.home / "logs"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_logs_shows_the_newest_lines_of_each_replica(platform):
    log(platform, "2-ab12-0.log", "one", "two", "three")
    log(platform, "2-ab12-1.log", "four")
    log(platform, "2-ab12-1-0.log", "another deployment's")
    shown = platform.run("logs", "2-ab12", "-n", "2").stdout
    assert shown == "2-ab12-0  two\n2-ab12-0  three\n2-ab12-1  four\n"


def test_logs_of_an_endpoint_are_its_deployments(platform):
    rolling(platform.ports, "digits/1")
    deployment = platform.ports.fleet.deployments()[0]
    log(platform, f"{deployment}-0.log", "loaded")
    assert json.loads(platform.run("logs", "digits", "--json").stdout)["line"] == "loaded"


def test_logs_that_are_not_there_are_a_no(platform):
    rolling(platform.ports, "digits/1")
    assert platform.run("logs", "digits").exit_code == 1


def test_logs_reach_back_into_what_was_set_aside(platform):
    log(platform, "2-ab12-0.log.1", "one", "two")
    log(platform, "2-ab12-0.log", "three")
    assert platform.run("logs", "2-ab12", "-n", "2").stdout == "2-ab12-0  two\n2-ab12-0  three\n"


def test_a_followed_log_loses_nothing_when_it_is_set_aside(tmp_path):
    path = tmp_path / "2-ab12-0.log"
    path.write_text("one\n")
    tail = Tail(path)
    seen = tail.new_lines()
    path.write_text("one\ntwo\n")
    path.rename(tmp_path / "2-ab12-0.log.1")
    path.write_text("3\nhalf a li")
    assert [*seen, *tail.new_lines()] == ["one", "two", "3"]


def test_watch_says_how_the_last_rollout_ended(platform):
    ended_as(platform.ports, "digits/1", Phase.ROLLED_BACK, "4 errors in 9 requests")
    shown = " ".join(platform.run("watch", "digits", "--once").stdout.split())
    assert "rolled_back: digits/1, 4 errors in 9 requests" in shown


def test_watch_goes_on_until_it_is_interrupted(platform):
    rolling(platform.ports, "digits/1")
    command = [str(Path(sys.executable).with_name("modeldrop")), "--home", str(platform.home)]
    watching = subprocess.Popen([*command, "watch", "--json", "--interval", "0.1"], stdout=subprocess.PIPE, text=True)
    looks = [json.loads(watching.stdout.readline())["name"] for _ in range(3)]
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)
    assert (looks, watching.returncode) == (["digits"] * 3, 0)


def test_a_hook_is_made_listed_rotated_and_revoked(platform):
    made = platform.run("hooks", "make", "ci", "--allow", "promote", "--allow", "abort", "--endpoint", "digits")
    assert made.stdout.startswith("whsec_")
    rotated = json.loads(platform.run("hooks", "rotate", "ci", "--json").stdout)
    first, second = (secret["id"] for secret in rotated["secrets"])
    shown = platform.run("hooks", "list").stdout
    assert all(text in shown for text in ("ci", "promote abort", "digits", first, second))
    assert platform.run("hooks", "drop-secret", "ci", first).exit_code == 0
    assert platform.run("hooks", "revoke", "ci").exit_code == 0
    assert json.loads(platform.run("hooks", "list", "--json").stdout)[0]["secrets"] == []


def test_a_hooks_rules_are_said_in_one_line(platform, tmp_path):
    (tmp_path / "secret").write_text("It's a Secret to Everybody\n")
    on = ("--on", "release=start_rollout", "--model", "digits", "--version-from", "tag")
    where = ("--form", "github", "--allow", "start_rollout", "--endpoint", "digits")
    secret = ("--secret-file", str(tmp_path / "secret"))
    made = json.loads(platform.run("hooks", "make", "gh", *where, *on, *secret, "--json").stdout)
    assert made["secret"] == "It's a Secret to Everybody"
    assert made["rules"] == [
        {
            "event": "release",
            "action": "start_rollout",
            "endpoint": "digits",
            "model_id": "digits",
            "version_from": "tag",
            "branch": "",
            "alias": "",
        }
    ]


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (("--form", "gitlab_token"), 1, "can send others for ever"),
        (("--on", "release"), 2, "say EVENT=ACTION"),
        (("--form", "github", "--on", "ping=abort"), 1, "'ping' is no event"),
    ],
)
def test_a_hook_that_would_be_wrong_is_refused_in_one_line(platform, more, status, said):
    ended = platform.run("hooks", "make", "x", "--allow", "abort", "--endpoint", "digits", *more)
    assert (ended.exit_code, said in ended.stderr, ended.stderr.count("\n")) == (status, True, 1)


def test_the_log_of_hooks_shows_the_newest_calls_of_both_files(tmp_path):
    line = '{"at": "2026-03-01T00:00:00+00:00", "hook": "ci", "outcome": "refused", "why": "%s"}\n'
    (tmp_path / "audit.jsonl.1").write_text(line % "bad signature")
    accepted = '{"at": "t", "hook": "cd", "outcome": "accepted", "action": "abort", "endpoint": "digits"}\n'
    (tmp_path / "audit.jsonl").write_text(accepted + line % "stale")
    assert run(tmp_path, "hooks", "log").stdout.splitlines() == [
        "2026-03-01T00:00:00+00:00  ci: refused (bad signature)",
        "t  cd: accepted abort of digits",
        "2026-03-01T00:00:00+00:00  ci: refused (stale)",
    ]
    assert "stale" in run(tmp_path, "hooks", "log", "ci", "-n", "1").stdout
