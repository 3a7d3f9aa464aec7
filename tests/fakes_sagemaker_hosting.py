"""Models, endpoint configs, endpoints and tags of the fake: see fakes_sagemaker."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.fakes_sagemaker_words import ACCOUNT, in_progress, invalid, missing, taken

MODEL, CONFIG, ENDPOINT = "model", "endpoint configuration", "endpoint"
IN_PROGRESS = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
SERVING = {"InService", "Updating", "SystemUpdating", "RollingBack"}
_ARN_KIND = {MODEL: "model", CONFIG: "endpoint-config", ENDPOINT: "endpoint"}


@dataclass(frozen=True)
class Fate:
    """How an endpoint's creation ends. `config` is what it then says that it runs, if that isn't what was asked for."""

    seconds: float = 240.0
    ends: str = "InService"
    reason: str = ""
    config: str = ""


@dataclass
class Thing:
    name: str
    arn: str
    made: datetime
    asked: dict


@dataclass
class Served(Thing):
    """An endpoint. `until` is when what is in progress ends, `then` what it becomes by that."""

    config: str = ""
    status: str = "Creating"
    reason: str = ""
    current: int = 0
    desired: int = 0
    until: datetime | None = None
    then: Callable[[], None] = lambda: None


@dataclass
class Hosting:
    clock: Callable[[], datetime]
    region: str
    page: int
    fate: Callable[[dict], Fate] = lambda _: Fate()
    update: Fate = field(default_factory=lambda: Fate(seconds=120.0))  # of updates and resizes; ends=Failed: as before
    delete_seconds: float = 90.0
    forgets_new_configs: bool = True  # create_endpoint doesn't find a config just made, once

    def __post_init__(self) -> None:
        self.things: dict[str, dict[str, Thing]] = {MODEL: {}, CONFIG: {}, ENDPOINT: {}}
        self.tags: dict[str, dict[str, str]] = {}
        self.limits: dict[str, tuple[int, int]] = {}  # endpoint name: its scalable target's
        self._new_configs: set[str] = set()

    # --- models and configs ----------------------------------------------------------------------------------------
    def create_model(self, asked: dict) -> dict:
        return {"ModelArn": self._make(MODEL, asked["ModelName"], asked).arn}

    def describe_model(self, asked: dict) -> dict:
        found = self.find(MODEL, asked["ModelName"])
        return {**_without_tags(found), "ModelArn": found.arn, "CreationTime": found.made.timestamp()}

    def delete_model(self, asked: dict) -> None:
        self._drop(self.find(MODEL, asked["ModelName"]), MODEL)

    def list_models(self, asked: dict) -> dict:
        return self._listed(MODEL, asked, "Models", "Model")

    def create_endpoint_config(self, asked: dict) -> dict:
        for variant in asked["ProductionVariants"]:
            self.find(MODEL, variant["ModelName"])
        made = self._make(CONFIG, asked["EndpointConfigName"], asked)
        self._new_configs.add(made.arn)
        return {"EndpointConfigArn": made.arn}

    def describe_endpoint_config(self, asked: dict) -> dict:
        found = self.find(CONFIG, asked["EndpointConfigName"])
        return {**_without_tags(found), "EndpointConfigArn": found.arn, "CreationTime": found.made.timestamp()}

    def delete_endpoint_config(self, asked: dict) -> None:
        """AWS: "You must not delete an EndpointConfig in use by an endpoint that is live"; here it is refused."""
        found = self.find(CONFIG, asked["EndpointConfigName"])
        if users := [e.name for e in self.endpoints() if e.config == found.name]:
            raise invalid(f"EndpointConfig {found.name} is in use by {users}")
        self._drop(found, CONFIG)

    def list_endpoint_configs(self, asked: dict) -> dict:
        return self._listed(CONFIG, asked, "EndpointConfigs", "EndpointConfig")

    # --- endpoints -------------------------------------------------------------------------------------------------
    def create_endpoint(self, asked: dict) -> dict:
        name = asked["EndpointName"]
        if name.lower() in {e.name.lower() for e in self.endpoints()}:
            raise taken(ENDPOINT, self._arn(ENDPOINT, name))
        config = self._config_for_endpoint(asked["EndpointConfigName"])
        fate = self.fate(config.asked)
        desired = config.asked["ProductionVariants"][0]["InitialInstanceCount"]
        arn = self._arn(ENDPOINT, name)
        made = Served(name, arn, self.clock(), asked, config=config.name, desired=desired)
        self._begin(made, "Creating", fate.seconds, lambda: _become(made, fate))
        self.things[ENDPOINT][name.lower()] = made
        self.tags[arn] = _tags(asked)
        return {"EndpointArn": arn}

    def describe_endpoint(self, asked: dict) -> dict:
        found = self.endpoint(asked["EndpointName"])
        return {
            "EndpointName": found.name,
            "EndpointArn": found.arn,
            "EndpointConfigName": found.config,
            "EndpointStatus": found.status,
            "CreationTime": found.made.timestamp(),
            "LastModifiedTime": found.made.timestamp(),
            **({"FailureReason": found.reason} if found.reason else {}),
            **({"ProductionVariants": [_variant(found)]} if found.current else {}),
        }

    def delete_endpoint(self, asked: dict) -> None:
        found = self.endpoint(asked["EndpointName"])
        if found.status in IN_PROGRESS:
            raise in_progress(found.arn)
        self._begin(found, "Deleting", self.delete_seconds, lambda: self._drop(found, ENDPOINT))

    def update_endpoint(self, asked: dict) -> dict:
        """An update that fails ends InService on the old config, without a reason."""
        found, config = self.endpoint(asked["EndpointName"]), self.find(CONFIG, asked["EndpointConfigName"])
        new = found.config if self.update.ends == "Failed" else config.name
        self._update(found, lambda: setattr(found, "config", new))
        return {"EndpointArn": found.arn}

    def update_endpoint_weights_and_capacities(self, asked: dict) -> dict:
        found = self.endpoint(asked["EndpointName"])
        for wanted in asked["DesiredWeightsAndCapacities"]:
            if wanted["VariantName"] != _variant(found)["VariantName"]:
                raise invalid(f"Could not find variant {wanted['VariantName']}")
            self.resize(found, wanted["DesiredInstanceCount"])
        return {"EndpointArn": found.arn}

    def list_endpoints(self, asked: dict) -> dict:
        self.endpoints()
        return self._listed(ENDPOINT, asked, "Endpoints", "Endpoint")

    def resize(self, found: Served, count: int) -> None:
        """Autoscaling's bounds hold for people, too. (AWS refuses so; the words are ours.)"""
        least, most = self.limits.get(found.name, (0, count))
        if not least <= count <= most:
            raise invalid(f"DesiredInstanceCount {count} is not between {least} and {most} of the scalable target")
        before = found.current

        def done() -> None:
            found.current = found.desired = before if self.update.ends == "Failed" else count

        self._update(found, done)
        found.desired = count

    # --- tags ------------------------------------------------------------------------------------------------------
    def add_tags(self, asked: dict) -> dict:
        self._tags_of(asked["ResourceArn"]).update(_tags(asked))
        return {"Tags": _tag_list(self.tags[asked["ResourceArn"]])}

    def list_tags(self, asked: dict) -> dict:
        tags = _tag_list(self._tags_of(asked["ResourceArn"]))
        return self.paged("Tags", tags, asked)

    def _tags_of(self, arn: str) -> dict[str, str]:
        self.endpoints()
        if arn not in self.tags:
            raise missing("resource", arn)
        return self.tags[arn]

    # --- state -----------------------------------------------------------------------------------------------------
    def endpoints(self) -> list[Served]:
        """Let the time that has passed do its work, and return what is there."""
        for found in list(self.things[ENDPOINT].values()):
            if found.until and self.clock() >= found.until:
                found.until, found.status = None, "InService"
                found.then()
        return list(self.things[ENDPOINT].values())

    def endpoint(self, name: str) -> Served:
        self.endpoints()
        return self.find(ENDPOINT, name)

    def find(self, kind: str, name: str) -> Thing:
        found = self.things[kind].get(name.lower())
        if not found:
            raise missing(kind, self._arn(kind, name))
        return found

    def paged(self, key: str, items: list, asked: dict) -> dict:
        start = int(asked.get("NextToken", 0))
        end = start + min(self.page, asked.get("MaxResults", self.page))
        return {key: items[start:end], **({"NextToken": str(end)} if end < len(items) else {})}

    def _make(self, kind: str, name: str, asked: dict) -> Thing:
        if name.lower() in self.things[kind]:
            raise taken(kind, self._arn(kind, name))
        made = Thing(name, self._arn(kind, name), self.clock(), asked)
        self.things[kind][name.lower()] = made
        self.tags[made.arn] = _tags(asked)
        return made

    def _drop(self, found: Thing, kind: str) -> None:
        del self.things[kind][found.name.lower()]
        del self.tags[found.arn]

    def _config_for_endpoint(self, name: str) -> Thing:
        found = self.find(CONFIG, name)
        if self.forgets_new_configs and found.arn in self._new_configs:
            self._new_configs.discard(found.arn)
            raise missing(CONFIG, found.arn)
        return found

    def _update(self, found: Served, done: Callable[[], None]) -> None:
        if found.status in IN_PROGRESS:
            raise in_progress(found.arn)
        if found.status != "InService":
            raise invalid(f"Endpoint {found.arn} is {found.status}: it can only be deleted")
        self._begin(found, "Updating", self.update.seconds, done)

    def _begin(self, found: Served, status: str, seconds: float, then: Callable[[], None]) -> None:
        found.status, found.then = status, then
        found.until = self.clock() + timedelta(seconds=seconds)

    def _listed(self, kind: str, asked: dict, key: str, prefix: str) -> dict:
        wanted = asked.get("NameContains", "").lower()
        found = sorted((t for t in self.things[kind].values() if wanted in t.name.lower()), key=lambda t: t.made)
        return self.paged(key, [_summary(t, prefix) for t in found], asked)

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{_ARN_KIND[kind]}/{name.lower()}"


def _become(made: Served, fate: Fate) -> None:
    made.status, made.reason = fate.ends, fate.reason
    made.config = fate.config or made.config
    made.current = made.desired if fate.ends == "InService" else 0


def _variant(found: Served) -> dict:
    counts = {"CurrentInstanceCount": found.current, "DesiredInstanceCount": found.desired}
    return {"VariantName": "main", "CurrentWeight": 1.0, "DesiredWeight": 1.0, **counts}


def _summary(found: Thing, prefix: str) -> dict:
    made = found.made.timestamp()
    status = {"EndpointStatus": found.status} if isinstance(found, Served) else {}
    times = {"CreationTime": made} if prefix == "Model" else {"CreationTime": made, "LastModifiedTime": made}
    return {f"{prefix}Name": found.name, f"{prefix}Arn": found.arn, **times, **status}


def _without_tags(found: Thing) -> dict:
    return {key: value for key, value in found.asked.items() if key != "Tags"}


def _tags(asked: dict) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in asked.get("Tags", [])}


def _tag_list(tags: dict[str, str]) -> list[dict]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
