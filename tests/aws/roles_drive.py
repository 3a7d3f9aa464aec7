"""The whole path on AWS, driven once, so that every call that a function makes is made: what roles are held against."""

import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any

import boto3

from chalicelib.adapters import sagemaker_names as names
from chalicelib.domain.hook_signatures import Call
from chalicelib.domain.manifest import manifest_of
from chalicelib.domain.record import Write
from chalicelib.domain.signed_upload import ONE_PUT
from chalicelib.domain.version import PART_SIZE
from tests.aws.aws_world import World, api_key, endpoint, registry_of, rollouts, versions
from tests.aws.rest_gateway import Reply, RestGateway
from tests.aws.roles_recorder import Recorder
from tests.aws.stack import REGION, Context, Mishaps, Stack
from tests.fakes_artifacts import HANDLER, small_mar
from tests.fakes_sagemaker import NO_PING, Fault
from tests.fakes_sagemaker_words import Refused
from tests.hook_calls import SECRET, asks, standard

PLAN = b"steps: [50, 100]\nstep_time: 60\nkeep_warm: 60\nthresholds: {min_requests: 10}\n"
SCALES = PLAN.replace(b"keep_warm: 60", b"keep_warm: 3600") + b"min: 1\nmax: 2\n"
# A row of the table holds less, also of a rollout's record: it goes to the model store.
LARGE = PLAN + b"environment:\n" + b"".join(b"  X%d: '%s'\n" % (at, b'"' * 1000) for at in range(40))
UNCALLED = b"steps: [50, 100]\nstep_time: 5\nmax_extensions: 0\non_inconclusive: abort\n"
BOUNDS = '{"environment_names": ["X*"], "keep_disagreements": true}'
# To a shadow that has ended: the endpoint is looked at, and nobody is asked.
COPY = {
    "id": "r-1",
    "endpoint": "wordy",
    "to": {"deployment": "none", "rollout": "none", "how": {}},
    "call": {"content_type": "application/json", "accept": "", "attributes": {}},
    "live": {"status": 200, "content_type": "application/json"},
}
REQUESTS = 30  # between two timers: enough for a verdict


def archive(comment: str = "", padding: int = 0) -> bytes:
    """Return a `.mar` of its own, with a weights file of so many bytes."""
    body = BytesIO(small_mar(f"{HANDLER}\n# {comment}\n"))
    if padding:
        with zipfile.ZipFile(body, "a") as mar:
            mar.writestr(zipfile.ZipInfo("weights.bin", (2026, 1, 1, 0, 0, 0)), bytes(padding))
    return body.getvalue()


@dataclass
class Drive:
    """One stack, and what is done to it."""

    world: World
    stack: Stack
    recorder: Recorder

    def __post_init__(self) -> None:
        self.api = RestGateway(self.stack)
        self.key = api_key(self.stack, "admin", "deploy", "predict:*")

    def all(self) -> None:
        self.uploads()
        self.api_routes()
        self.rollouts()
        self.shadows()
        self.operators_hand()
        self.leftovers()
        self.replaced()
        self.unreadable()
        self.teardown()

    # --- uploads ----------------------------------------------------------------------------------------------------
    def uploads(self) -> None:
        """First versions: one whose manifest came first, bad ones, one that is never whole, large ones."""
        files = {"model.mar": archive("1"), "deploy.yaml": SCALES}
        self.drop("digits/1", {"_manifest.json": manifest_of((p, [body]) for p, body in files.items()).to_json()})
        missing = manifest_of((f"{'a' * 90}/{at}", [b""]) for at in range(1000)).to_json()
        self.drop("many/1", {"_manifest.json": missing})
        self.stack.settle()
        self.stack.client("s3").delete_object(Bucket=self.stack.drop, Key="digits/1/_manifest.json")
        self.drop("digits/1", files)  # waits for a quiet moment, which comes sooner than the look at what isn't whole
        self.drop("many/1", {f"{'a' * 90}/0": b""})
        self.drop("bad/1", {"model.mar": b"no archive"})
        self.drop("not legal!/1", {"model.mar": b"no archive"})
        self.drop("wordy/1", {"model.mar": archive("1"), "deploy.yaml": LARGE})
        self.drop("huge/1", {"model.mar": archive("1", PART_SIZE), "deploy.yaml": PLAN})
        self.recorder.failing |= {"validate.GetObject": "NoSuchVersion", "register.UploadPartCopy": "NoSuchVersion"}
        self.until_ended("digits/1", "wordy/1")
        self.stack.run(lambda: "huge/1" in versions(self.stack))
        self.asked("POST", "/v1/endpoints/huge/abort")

    # --- the API ----------------------------------------------------------------------------------------------------
    def api_routes(self) -> None:
        """Every route, and predictions in every form."""
        self.asked("GET", "/v1/whoami", key="")
        self.asked("GET", "/v1/whoami", key=f"md_{'0' * 12}_{'x' * 43}")
        made = self.asked("POST", "/v1/keys", {"name": "an app", "scopes": ["predict:digits"]}).json
        self.predictions(made["key"])
        self.asked("PUT", "/v1/endpoints/digits/rate", {"per_second": 1000.0})
        self.asked("DELETE", f"/v1/keys/{made['id']}")
        self.asked("GET", "/v1/whoami", key=made["key"])
        rollout = rollouts(self.stack)[0].id
        for path in (
            "models", "models/digits", "models/digits/versions", "models/digits/versions/1", "drops", "endpoints",
            "models/wordy/versions/1", "endpoints/digits", "endpoints/nobody", "rollouts", f"rollouts/{rollout}",
            "endpoints/digits/rollout", "keys", "whoami", "nothing",
        ):  # fmt: skip
            self.asked("GET", f"/v1/{path}")
        self.asked("GET", "/openapi.json")
        large = {"path": "model.mar", "size": ONE_PUT + 1, "sha256": "0" * 64}
        self.asked("POST", "/v1/uploads", {"model_id": "digits", "version_id": "9", "files": [large]})

    def predictions(self, key: str) -> None:
        for form in ("digits:predict", "digits/predict", "nobody/predict"):
            self.asked("POST", f"/v1/endpoints/{form}", {"instances": [1]}, key=key)
        for form in ("digits:rawPredict", "digits/rawPredict"):
            self.asked("POST", f"/v1/endpoints/{form}", b'{"instances": []}', key=key)

    # --- rollouts ---------------------------------------------------------------------------------------------------
    def rollouts(self) -> None:
        """A better version with every event doubled, while stable runs on two; a sick one; one that can't start."""
        [stable] = [e for e in self.world.aws.hosting.endpoints() if self.version_of(e.arn) == "digits/1"]
        self.world.aws.hosting.resize(stable, 2)
        self.stack.mishaps = Mishaps(double=0.5)
        golden = b'{"instance": 1, "expected": 0}'
        self.drop("digits/2", {"model.mar": archive("2"), "deploy.yaml": SCALES, "golden.jsonl": golden})
        self.until_ended("digits/2", calling="digits")
        self.stack.mishaps = Mishaps()
        self.world.sick.add("digits/3")
        self.drop("digits/3", {"model.mar": archive("3"), "deploy.yaml": SCALES})
        self.until_ended("digits/3", calling="digits")
        well, self.world.aws.fate = self.world.aws.fate, lambda _: NO_PING
        self.drop("wordy/2", {"model.mar": archive("2"), "deploy.yaml": LARGE})
        self.until_ended("wordy/2")
        self.world.aws.fate = well
        full = Fault("CreateEndpoint", 99, after=False, error=Refused("ResourceLimitExceeded", "no more ml.g5.xlarge"))
        self.world.aws.faults.append(full)
        self.drop("digits/4", {"model.mar": archive("4"), "deploy.yaml": SCALES})
        self.until_ended("digits/4")
        self.world.aws.faults.remove(full)
        # Nobody calls: what it warms up with is asked instead.
        self.drop("digits/5", {"model.mar": archive("5"), "deploy.yaml": UNCALLED, "warmup.jsonl": b'{"instance": 1}'})
        self.until_ended("digits/5")

    def shadows(self) -> None:
        """One that answers otherwise, whose endpoint's record is a large one."""
        self.world.odd.add("wordy/4")
        wish = LARGE + b"shadow: {share: 100%, for: 60, min_requests: 10, keep_disagreements: true}\n"
        self.drop("wordy/4", {"model.mar": archive("4"), "deploy.yaml": wish})
        self.until_ended("wordy/4", calling="wordy")
        [shadow] = [r.id for r in rollouts(self.stack) if str(r.ref) == "wordy/4"]
        assert self.asked("GET", f"/v1/disagreements/{shadow}").json["disagreements"]

    def operators_hand(self) -> None:
        """What people do to a rollout."""
        self.drop("wordy/3", {"model.mar": archive("3"), "deploy.yaml": LARGE})
        self.stack.run(lambda: any(str(r.ref) == "wordy/3" for r in rollouts(self.stack)))
        for action in ("pause", "resume", "promote"):
            self.asked("POST", f"/v1/endpoints/wordy/{action}")
        self.until_ended("wordy/3")
        self.asked("POST", "/v1/endpoints/wordy/rollback")
        self.asked("POST", "/v1/endpoints/wordy/rollouts", {"model_id": "wordy", "version_id": "3"})
        self.asked("POST", "/v1/endpoints/wordy/abort")
        self.stack.settle()
        self.divided()
        self.hooks()

    def divided(self) -> None:
        """What people do to a split of their own and to aliases, while a version is dropped."""
        self.asked("PUT", "/v1/endpoints/wordy/split", {"weights": {"wordy/1": 50, "wordy/3": 50}})
        self.stack.run(lambda: self.is_kept("wordy"))
        self.asked("PUT", "/v1/endpoints/wordy/aliases/blue", {"model_id": "wordy", "version_id": "3"})
        self.asked("DELETE", "/v1/endpoints/wordy/aliases/blue")
        self.drop("wordy/4", {"model.mar": archive("4"), "deploy.yaml": LARGE})
        self.stack.run(lambda: "wordy/4" in versions(self.stack))
        self.asked("DELETE", "/v1/endpoints/wordy/split?to=wordy/1")
        self.stack.run(lambda: any(str(r.ref) == "wordy/4" for r in rollouts(self.stack)))
        self.asked("POST", "/v1/endpoints/wordy/abort")
        self.stack.settle()

    def is_kept(self, name: str) -> bool:
        found = endpoint(self.stack, name)
        return bool(found and found.kept)

    def hooks(self) -> None:
        """What CI systems may do by signed calls, and others by forged ones."""
        hook = {"name": "ci", "actions": ["start_rollout", "abort"], "endpoints": ["wordy"], "secret": SECRET}
        self.asked("POST", "/v1/hooks", hook)
        start = asks("start_rollout", "wordy", model_id="wordy", version_id="3")
        for body, id_ in ((start, "1"), (start, "1"), (asks("abort", "wordy"), "2"), (asks("abort", "digits"), "3")):
            self.called("ci", standard(body, self.stack.now, id_))
        self.called("nobody", standard(start, self.stack.now, "4"))
        self.asked("GET", "/v1/hooks")
        added = self.asked("POST", "/v1/hooks/ci/secrets", {}).json["secrets"][1]["id"]
        self.asked("DELETE", f"/v1/hooks/ci/secrets/{added}")
        self.asked("DELETE", "/v1/hooks/ci")
        self.stack.settle()

    def called(self, hook: str, call: Call) -> Reply:
        return self.api.call("POST", f"/v1/hooks/{hook}", call.body, headers=call.headers)

    # --- leftovers --------------------------------------------------------------------------------------------------
    def leftovers(self) -> None:
        """What no event told, what a crash left behind, and what nobody refers to: the re-sync finds it."""
        self.stack.mishaps = Mishaps(drop=1.0)
        self.drop("late/1", {"model.mar": archive("1"), "deploy.yaml": LARGE})
        self.stack.settle()
        self.stack.mishaps = Mishaps()
        self.stack.schedule()
        self.stack.run(lambda: "late/1" in versions(self.stack))
        self.forget_rollouts_of("late")
        self.forget_catalogue_of("digits/1")
        s3 = self.stack.client("s3")
        s3.put_object(Bucket=self.stack.store, Key="digits/1/crashed/model.mar", Body=b"")
        s3.put_object(Bucket=self.stack.store, Key=f"_records/rollout/{'0' * 64}/1-0.json", Body=b"")
        self.start_stray()
        self.stack.now += timedelta(hours=2)
        for _ in range(4):
            self.stack.schedule()
            self.stack.now += timedelta(minutes=15)
        self.stack.settle()

    def forget_rollouts_of(self, endpoint: str) -> None:
        """Leave things as a crash between a registration and its rollout does."""
        registry = registry_of(self.stack)
        for doc in registry.list("rollout"):
            if doc.body["endpoint"] == endpoint:
                registry.commit([Write(doc.kind, doc.id, doc.revision, None)])
        if doc := registry.get("endpoint", endpoint):
            registry.commit([Write(doc.kind, doc.id, doc.revision, None)])

    def forget_catalogue_of(self, version: str) -> None:
        """Leave things as a lost message does: the version's entry in the catalogue is out of date."""
        registry = registry_of(self.stack)
        doc = registry.get("version", version)
        assert doc
        registry.commit([Write(doc.kind, doc.id, doc.revision, {**doc.body, "catalogued": ""})])

    def start_stray(self) -> None:
        """Start what a crash could leave: ours by its tags, and no record names it."""
        stack = self.stack.prefix.removeprefix("md-")
        name = names.deployment_name(stack, "stray")
        tags = [{"Key": names.STACK, "Value": stack}, {"Key": names.DEPLOYMENT, "Value": "stray"}]
        variant = {"VariantName": "main", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker = boto3.client("sagemaker", region_name=REGION)
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=self.role(), Tags=tags)
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
        with suppress(sagemaker.exceptions.ClientError):  # the fake doesn't find a config just made, once
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)

    def function(self, logical: str) -> str:
        """Return a function's own name."""
        return self.stack.physical(logical).split("-", 2)[2]

    def role(self) -> str:
        return str(self.stack.resolve({"Fn::GetAtt": ["ModelRole", "Arn"]}))

    def replaced(self) -> None:
        """What a large record's row named is gone when it is read, for it was replaced meanwhile."""
        for mapped in self.stack.mappings:
            kind = {"ValidateFunction": "look:wordy/1/", "RegisterFunction": "catalogue:wordy/1"}
            wake_up = kind.get(mapped.function, "advance:wordy")
            self.recorder.failing[f"{self.function(mapped.function)}.GetObject"] = "NoSuchKey"
            body = json.dumps({"wake_up": wake_up}) if mapped.function != "ShadowFunction" else json.dumps(COPY)
            self.stack.client("sqs").send_message(QueueUrl=mapped.queue_url, MessageBody=body)
            self.stack.settle()
        self.recorder.failing["api.GetObject"] = "NoSuchKey"
        self.asked("GET", "/v1/models/wordy/versions/1")
        self.recorder.failing["re-sync.GetObject"] = "NoSuchKey"
        self.stack.schedule()
        self.stack.settle()

    def unreadable(self) -> None:
        """A message that no function can read: it comes again, until the queue gives it up."""
        for mapped in self.stack.mappings:
            self.stack.client("sqs").send_message(QueueUrl=mapped.queue_url, MessageBody="{}")
        self.stack.settle()

    # --- the end ----------------------------------------------------------------------------------------------------
    def teardown(self) -> None:
        """Have the stack end what it started, as CloudFormation does, again and again."""
        for _ in range(8):
            with self.stack._running("TeardownFunction") as handler:
                answer = handler({"RequestType": "Delete"}, Context(self.stack.physical("TeardownFunction"), 1))
            if answer["Status"] == "SUCCESS":
                return
            self.stack.now += timedelta(minutes=10)
        raise AssertionError(answer)

    # --- parts ------------------------------------------------------------------------------------------------------
    def drop(self, ref: str, files: Mapping[str, bytes]) -> None:
        for path, body in files.items():
            self.stack.put(f"{ref}/{path}", body)

    def until_ended(self, *refs: str, calling: str = "") -> None:
        """Let time pass, with callers of an endpoint, until the rollouts of these versions have ended."""

        def ended() -> bool:
            open_ = set(refs) - {str(r.ref) for r in rollouts(self.stack) if not r.is_open}
            for _ in range(REQUESTS if calling and open_ else 0):
                self.asked("POST", f"/v1/endpoints/{calling}:predict", {"instances": [1]})
            return not open_

        self.stack.run(ended)

    def asked(self, method: str, path: str, body: Any = b"", *, key: str | None = None) -> Reply:
        return self.api.call(method, path, body, key=self.key if key is None else key)

    def version_of(self, arn: str) -> str:
        return self.world.aws.hosting.tags[arn].get(names.VERSION, "")
