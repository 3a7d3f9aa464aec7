"""A deployment: one version running for one endpoint on some hardware, and the endpoint that apps call."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from chalicelib.domain.refs import VersionRef
from chalicelib.domain.shadow import Shadowing
from chalicelib.domain.split import ManualSplit, Split
from chalicelib.domain.version import Version


@dataclass(frozen=True)
class Resources:
    """What each deployment of an endpoint gets, from `deploy.yaml` within the operator's bounds."""

    replicas: int = 1
    memory_mb: int = 8192  # per replica, watched as RSS
    start_timeout_s: float = 180.0  # load test: loaded, warmed up and ready by then
    environment: Mapping[str, str] = field(default_factory=dict)
    max_replicas: int = 0  # on a fleet that scales by itself; 0: always `replicas`
    instance_type: str = ""  # on a fleet that has such; "": the operator's own


@dataclass(frozen=True)
class Deployment:
    """What the fleet is asked to run. The id follows from what it is, so asking twice starts nothing twice."""

    id: str
    endpoint: str
    ref: VersionRef
    digest: str
    store_prefix: str
    resources: Resources


def deployment_of(endpoint: str, version: Version, resources: Resources) -> Deployment:
    """Return the deployment of a version for an endpoint, its id a digest of everything that makes it."""
    return Deployment(
        id=_id(endpoint, version.ref, version.digest, resources),
        endpoint=endpoint,
        ref=version.ref,
        digest=version.digest,
        store_prefix=version.store_prefix,
        resources=resources,
    )


def on_type(deployment: Deployment, instance_type: str) -> Deployment:
    """Return the deployment of the same version on other hardware: another one, with an id of its own."""
    resources = replace(deployment.resources, instance_type=instance_type)
    other = _id(deployment.endpoint, deployment.ref, deployment.digest, resources)
    return replace(deployment, id=other, resources=resources)


def _id(endpoint: str, ref: VersionRef, digest: str, resources: Resources) -> str:
    spec = f"{endpoint}\0{ref}\0{digest}\0{resources}"
    return f"{ref.version_id[:24].lower()}-{hashlib.sha256(spec.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Capacity:
    """What a rollout needs of a deployment's room; a fleet that doesn't scale by itself has it all the time."""

    at_least: int = 1  # replicas, so far as the deployment's own bounds allow
    may_scale_in: bool = True  # False while traffic may come back


ONE = Capacity()


class FleetState(StrEnum):
    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Running:
    """What the fleet sees of a deployment. `digest` is what its replicas answer, never what we asked for.

    An image of somebody else's can't say it: then it is that of the files which were mounted, and `image` says which
    image has them.
    """

    state: FleetState
    ready: int = 0  # replicas
    digest: str = ""
    reason: str = ""  # of a failure: the model's own error
    restarts: int = 0  # unexpected exits since it was first ready
    most: int = 0  # replicas that it may be asked to have; 0: what it has is all
    by_fleet: bool = False  # it failed for want of room, say, and not by the model's doing
    drifted: bool = False  # it runs what nobody asked for
    image: str = ""  # id of the image that its replicas run, where the fleet knows it
    start_s: float = 0.0  # seconds from when it was asked for until it was first ready; 0: not known


@dataclass(frozen=True)
class Endpoint:
    """The stable name that apps call, and who answers for it.

    `deployments` holds every deployment that the split, the rollout or the warm period names. `promoted` is the last
    promoted one, `previous` the one before it, kept warm until `previous_until`. `split` is what the gateway applies.
    """

    name: str
    owner: str  # MODEL_ID that created it
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    split: Split = field(default_factory=Split)
    promoted: str = ""
    previous: str = ""
    previous_until: datetime | None = None
    rollout: str = ""  # id of the open one
    asleep: str = ""  # stable, stopped to make room for a canary: nothing starts it before its rollout says so
    queued: str = ""  # id of the one that opens when the open one has ended
    # Deployments that left the split, each with the moment from which it may be stopped.
    retiring: Mapping[str, datetime] = field(default_factory=dict)
    rate: float = 0.0  # predictions a second that an operator lets through; 0: what the platform says
    aliases: Mapping[str, str] = field(default_factory=dict)  # people's own names for deployments
    kept: ManualSplit | None = None  # the split of a person's own that is in force
    asked: ManualSplit | None = None  # one that waits for its deployments
    # When the newest version of each model that a person gave a share was registered: no drop opens a rollout of it.
    by_hand: Mapping[str, datetime] = field(default_factory=dict)
    shadow: Shadowing | None = None  # what answers copies of requests, to nobody

    @property
    def is_manual(self) -> bool:
        """Tell whether a person has the split: then no rollout may move it."""
        return bool(self.kept or self.asked)

    @property
    def needed(self) -> frozenset[str]:
        """The deployments that are to run now."""
        return self.named - {self.asleep}

    @property
    def named(self) -> frozenset[str]:
        """The deployments that are to run, whatever rollout is open."""
        by_hand = [id_ for manual in (self.kept, self.asked) if manual for id_ in manual.weights]
        copied_to = self.shadow.deployment if self.shadow else ""
        named = {*self.split.weights, self.promoted, self.previous, copied_to, *self.aliases.values(), *by_hand}
        return frozenset(named - {""})
