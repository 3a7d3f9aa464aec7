"""Whatever is sent to a hook, signed or not, is answered in JSON and never by a failure of ours, and moves nothing."""

import json
import socket
import ssl
import string

import pytest
from chalice.local import LocalChalice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import api
from chalicelib.domain.hook_events import events_of
from chalicelib.domain.hooks import Action, Form, Rule, VersionFrom
from chalicelib.local.gateway.control import ControlPlane
from chalicelib.local.gateway.hooks import HookDoor
from chalicelib.pipeline.hooks import make_hook
from tests.api_caller import stepping
from tests.fakes_pipeline import fake_ports
from tests.hook_calls import GITHUB_SECRET, SECRET, Audit, github, standard
from tests.local.gateway_world import World

SLOWLY = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=200)
KINDS = ("endpoint", "rollout", "version", "hook", "key")
FORMS = {"standard": SECRET, "gitlab": SECRET, "github": GITHUB_SECRET, "gitlab_token": GITHUB_SECRET}


def rules(form):
    start = (Action.START_ROLLOUT, "digits", "digits", VersionFrom.COMMIT)
    return [Rule(event, *start) for event in events_of(Form(form))]


@pytest.fixture(scope="module")
def ports():
    """Return a platform with a hook of each form, and one more of each that has rules."""
    made = fake_ports(audit=Audit())
    stepping(made, "digits/1")
    for form, secret in FORMS.items():
        given = {"form": Form(form), "actions": [*Action], "endpoints": ["*"], "secret": secret, "replayable": True}
        make_hook(form, made, **given)
        make_hook(f"{form}-ruled", made, **given, rules=rules(form))
    return made


@pytest.fixture(scope="module")
def connect(ports):
    """Return what opens a connection to a gateway, whose door lets any number of calls in."""
    app = LocalChalice("test")
    app.register_blueprint(api.routes)
    api.bind(lambda: ports)
    world = World(control=ControlPlane(app))
    context = ssl.create_default_context(cafile=str(world.ca))

    def opened():
        plain = socket.create_connection(("127.0.0.1", world.gateway.port), timeout=30)
        return context.wrap_socket(plain, server_hostname="localhost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HookDoor, "admit", lambda *_: None)
        yield opened
    world.close()


def world(ports):
    return [ports.registry.list(kind) for kind in KINDS], ports.registry.timeline()


def answered(connect, head, body):
    """Return the status and the JSON of what is answered to bytes as they are."""
    with connect() as connection:
        connection.sendall(head + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    first, _, rest = received.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])


NAMES = st.sampled_from([*FORMS, *(f"{form}-ruled" for form in FORMS), "nobody", "%00", "%f0", "a b"[::2], "x" * 100])
KNOWN = st.sampled_from(
    ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "x-gitlab-token", "content-type",
     "x-github-event", "idempotency-key", "authorization", "accept", "content-encoding", "x-forwarded-for"]
)  # fmt: skip
ANY_NAME = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20)
VALUE = st.binary(max_size=60).map(lambda raw: bytes(b for b in raw if b >= 32 and b != 127))
TELLING = st.sampled_from(
    [b"v1,", b"v1,AAAA", b"sha256=" + b"0" * 64, b"9" * 30, b"-1", b"NaN", b"\xff\xfe", b"application/json"]
)


@given(
    name=NAMES, headers=st.lists(st.tuples(KNOWN | ANY_NAME, VALUE | TELLING), max_size=8), body=st.binary(max_size=300)
)
@SLOWLY
def test_a_call_of_whatever_headers_and_bytes_is_refused_in_json(connect, ports, name, headers, body):
    lines = b"".join(n.encode() + b": " + v.strip() + b"\r\n" for n, v in headers if n.lower() not in FRAMING)
    before = world(ports)
    status, answer = answered(connect, b"POST /v1/hooks/" + name.encode() + b" HTTP/1.1\r\nhost: x\r\n" + lines, body)
    assert 400 <= status < 500
    assert {"code", "message"} <= answer["error"].keys()
    assert world(ports) == before


FRAMING = {"content-length", "transfer-encoding", "connection", "host", "expect", "upgrade"}
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["action", "endpoint", "model_id", "version_id", "alias", "id", "ref", "after", "object_kind", "checkout_sha",
     "release", "workflow_run", "object_attributes", "tag", "commit"]
)  # fmt: skip
TOLD = st.sampled_from(
    [*map(str, Action), "digits", "nobody", "refs/heads/main", "push", "pipeline", "0" * 40, "..", ""]
)
OBJECTS = st.dictionaries(FIELDS, TOLD | JSONS, max_size=5).map(lambda told: json.dumps(told).encode())
EVENTS = st.sampled_from(["push", "release", "workflow_run", "ping", ""])
BODIES = (
    OBJECTS
    | st.binary(max_size=80)
    | st.sampled_from([b"", b"[" * 50_000, b'{"a":' * 20_000, b"1e999", b"\xff\xfe{\x00}"])
)


@given(form=st.sampled_from(["standard", "standard-ruled", "gitlab", "gitlab-ruled"]), body=BODIES, id_=st.uuids())
@SLOWLY
def test_a_true_call_of_whatever_body_is_answered_in_json(connect, ports, form, body, id_):
    status, answer = send(connect, form, standard(body, ports.clock(), str(id_)))
    assert status in {202, 400, 403, 404, 409}
    assert "error" in answer or answer["outcome"] in {"accepted", "ignored"}


@given(form=st.sampled_from(["github", "github-ruled"]), body=BODIES, event=EVENTS)
@SLOWLY
def test_a_true_call_of_github_of_whatever_body_is_answered_in_json(connect, form, body, event):
    status, answer = send(connect, form, github(body, event))
    assert status in {202, 400, 403, 404, 409}
    assert "error" in answer or answer["outcome"] in {"accepted", "ignored"}


def send(connect, name, call):
    lines = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
    return answered(connect, f"POST /v1/hooks/{name} HTTP/1.1\r\nhost: x\r\n{lines}".encode(), call.body)
