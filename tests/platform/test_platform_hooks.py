"""CI calls a real platform by hooks: as the page for people says, in a shell, and as GitHub does."""

import base64
import hashlib
import hmac
import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import ROOT, environment, platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "2", "--min-requests", "20", "--quiet-period", "0.5", "--steps", "20,50,100")
OTHER = small_mar("def handle(data, context):\n    return data and [[1.0, 2.0, 3.0] for _ in data]\n")
SHELL = next(block for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs/hooks.md").read_text(), re.DOTALL)
             if "openssl" in block)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with platform(tmp_path_factory.mktemp("hooks") / "home", *PACE) as started:
        started.drop("digits/v1/", {"model.mar": small_mar()})
        started.await_phase("digits", "v1", "promoted")
        yield started


def make(running, name, *options):
    allow = [word for action in ("start_rollout", "promote", "abort") for word in ("--allow", action)]
    made = running.cli("hooks", "make", name, *allow, "--endpoint", "digits", *options)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="module")
def secret(running):
    return make(running, "ci")


@pytest.fixture(scope="module")
def forge_secret(running):
    return make(running, "gh", "--form", "github")


def shell(running, secret, number, script=SHELL):
    """Run what the page says, as a CI job would: with the secret and the platform in variables."""
    told = {"HOOK_SECRET": secret, "BUILD_NUMBER": number}
    told |= {"MODELDROP_URL": running.url, "MODELDROP_CA": running.connection["ca"]}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, env=environment(**told), capture_output=True, text=True, check=False, timeout=60)


def post(running, name, body, **headers):
    named = {header.replace("_", "-"): value for header, value in headers.items()}
    with running.client("none") as client:
        return client.post(f"/v1/hooks/{name}", content=body, headers=named)


def by_github(running, secret, asked):
    body = json.dumps(asked).encode()
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return post(running, "gh", body, X_Hub_Signature_256=f"sha256={mac}", X_GitHub_Event="push")


def standard(secret, body, id_, at):
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), f"{id_}.{at}.".encode() + body, hashlib.sha256)
    signature = "v1," + base64.b64encode(mac.digest()).decode()
    return {"webhook_id": id_, "webhook_timestamp": str(at), "webhook_signature": signature}


def audited(running):
    lines = Path(running.home / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def kinds(running):
    return [t["kind"] for r in running.get("/v1/rollouts")["rollouts"]
            for t in running.get(f"/v1/rollouts/{r['id']}")["timeline"]]  # fmt: skip


def world(running):
    """Return what a call could have changed."""
    shown = running.endpoint("digits")
    return shown["split"], shown["promoted"], shown["aliases"], kinds(running)


def held_canary(running, version):
    running.drop(f"digits/{version}/", {"model.mar": OTHER})
    until(lambda: running.phase("digits", version) == "stepping", 60, f"{version} has its first share")


def test_a_job_promotes_by_the_shell_of_the_page_and_a_repeat_does_nothing(running, secret):
    held_canary(running, "v2")
    called = shell(running, secret, "7")
    assert (called.returncode, json.loads(called.stdout)["outcome"]) == (0, "accepted"), called.stderr
    running.await_phase("digits", "v2", "promoted", 60)
    before = world(running)
    again = shell(running, secret, "7")
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (22, "already_taken")
    assert world(running) == before
    assert "asked for by hook ci" in str(running.get("/v1/rollouts/" + json.loads(called.stdout)["rollout"]))


def test_what_is_forged_stale_or_changed_does_nothing_but_an_audit_line(running, secret, forge_secret):
    held_canary(running, "v3")
    body, now = b'{"action": "abort", "endpoint": "digits"}', int(time.time())
    good = standard(secret, body, "evil", now)
    calls = {
        "no signature": ("ci", body, {}),
        "bad signature": ("ci", body.replace(b"abort", b"promote"), good),
        "stale": ("ci", body, standard(secret, body, "evil", now - 301)),
        "no such hook": ("nobody", body, good),
    }
    before, lines = world(running), len(audited(running))
    for name, sent, headers in calls.values():
        assert post(running, name, sent, **headers).status_code == 401
    assert world(running) == before
    told = audited(running)[lines:]
    assert [(line["outcome"], line["why"]) for line in told] == [("refused", why) for why in calls]
    text = Path(running.home / "audit.jsonl").read_text()
    assert not any(
        kept_out in text for kept_out in (secret[6:], forge_secret, good["webhook_signature"], '"abort", "e')
    )


def test_a_hook_aborts_and_starts_and_what_was_taken_is_known_after_a_crash(running, forge_secret):
    assert by_github(running, forge_secret, {"action": "abort", "endpoint": "digits"}).status_code == 202
    running.await_phase("digits", "v3", "aborted")
    start = {"action": "start_rollout", "endpoint": "digits", "model_id": "digits", "version_id": "v1"}
    assert by_github(running, forge_secret, start).status_code == 202
    until(lambda: running.phase("digits", "v1") in {"starting", "stepping"}, 60, "v1 again")
    running.kill()
    running.start()
    again = by_github(running, forge_secret, start)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_taken")
    assert audited(running)[-1]["outcome"] == "repeated"


def test_a_release_on_github_starts_the_version_of_its_tag(running):
    rule = ("--on", "release=start_rollout", "--model", "digits", "--version-from", "tag")
    secret = make(running, "releases", "--form", "github", *rule)
    until(lambda: running.phase("digits", "v1") in {"stepping", "promoted"}, 60, "v1 goes on after the crash")
    body = json.dumps({"action": "published", "release": {"tag_name": "v3"}}).encode()
    mac = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    answer = post(running, "releases", body, X_Hub_Signature_256=mac, X_GitHub_Event="release")
    assert (answer.status_code, answer.json()["action"]) == (202, "start_rollout"), answer.text
    until(lambda: running.phase("digits", "v3") in {"starting", "stepping"}, 60, "v3 again")


def test_gitlabs_signed_form_sets_an_alias(running):
    secret = make(running, "gl", "--form", "gitlab", "--allow", "set_alias")
    serving = running.serving("digits")
    asked = {"action": "set_alias", "endpoint": "digits", "alias": "blessed"}
    body = json.dumps({**asked, "model_id": "digits", "version_id": serving}).encode()
    answer = post(
        running, "gl", body, **standard(secret, body, "f5e5f430-f57b-4e6e-9fac-d9128cd7232f", int(time.time()))
    )
    assert answer.status_code == 202, answer.text
    shown = running.endpoint("digits")
    assert shown["deployments"][shown["aliases"]["blessed"]]["version_id"] == serving


def test_a_revoked_hook_is_refused_at_once(running, secret):
    assert running.cli("hooks", "revoke", "ci").returncode == 0
    assert shell(running, secret, "8").returncode == 22
    shown = running.cli("hooks", "log", "ci", "-n", "1").stdout
    assert "ci: refused (no such hook)" in shown
