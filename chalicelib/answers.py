"""What the control API answers, as schemas: for its OpenAPI document, and for the tests that hold the views to them.

A sibling of `api`. Nothing is parsed by these at run time: the views make the JSON.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.answers_to_ci import TO_CI
from chalicelib.domain.deployment import FleetState
from chalicelib.domain.exam import Exam
from chalicelib.domain.findings import ArtifactFormat, Finding, PolicyChange, Verdict
from chalicelib.domain.rollout import Judgement, Phase, Plan
from chalicelib.domain.strategy import Strategy
from chalicelib.domain.transition import Transition
from chalicelib.domain.version import SealedFile


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class VersionStatus(Answer):
    version_id: str
    status: str


class Model(Answer):
    """A model and its versions; `status` as in Version."""

    model_id: str
    versions: list[VersionStatus]


class Drop(Answer):
    """One upload and its validation report.

    `status` is uploading, rejected or validated. `missing` is what has not arrived yet; the ids are null where
    the prefix is no legal MODEL_ID/VERSION_ID.
    """

    key_prefix: str
    model_id: str | None
    version_id: str | None
    format: ArtifactFormat | None
    verdict: Verdict
    findings: list[Finding]
    missing: list[str]
    policy: list[PolicyChange]
    schema_: dict[str, Any] | None = Field(alias="schema")
    digest: str | None
    details: dict[str, Any]
    status: str
    seen: datetime


class Version(Drop):
    """A version, whole or on its way.

    `status` is uploading, rejected, validated, registered or unservable; what follows `seen` is there from
    registration on. `unservable` holds the model's own error when its first start failed.
    """

    registered: datetime | None = None
    bytes: int | None = None
    files: list[SealedFile] | None = None
    unservable: str | None = None


class Running(Answer):
    """One deployment as the fleet sees it; `digest` is what its replicas answer.

    Of a custom container it is that of the files which were mounted. `image` is the id of a container's image.
    `start_s` is how long it took to start, 0 where that isn't known.
    """

    model_id: str
    version_id: str
    wanted_digest: str
    state: FleetState
    ready: int
    digest: str
    reason: str
    restarts: int
    most: int
    by_fleet: bool
    drifted: bool
    image: str
    start_s: float


class RolloutSummary(Answer):
    """A rollout; `gate` is the percent whose gate waits for approval, 0 for none."""

    id: str
    endpoint: str
    model_id: str
    version_id: str
    canary: str
    stable: str
    phase: Phase
    strategy: Strategy
    step: int
    steps: list[int]
    weight: int
    paused: bool
    reason: str
    opened: datetime
    ended: datetime | None
    gate: int


class Need(Answer):
    """What a step needs to pass when nothing is wrong: requests of the endpoint, of which the canary gets its share.

    `seconds` is how long they take, the step's own time at least; null where none come or the rate isn't known.
    """

    weight: int
    canary_requests: int
    endpoint_requests: int
    seconds: float | None


class Ahead(RolloutSummary):
    """What the steps from the present one on need, at the rate that the endpoint had of late; null: not known."""

    requests_per_second: float | None
    needs: list[Need]


class Rollout(Ahead):
    """A rollout, its plan, and its timeline with the oldest transition first."""

    plan: Plan
    exam: Exam | None
    timeline: list[Transition]


class Disagreement(Answer):
    """A live request that a shadow answered otherwise; long bodies are cut, bytes are `base64:…`."""

    request_id: str
    why: str
    request: str
    live: str
    shadow: str


class Disagreements(Answer):
    disagreements: list[Disagreement]


class Counts(Answer):
    """Traffic of the step's window; a quantile is null without samples and beyond the last bucket."""

    requests: int
    errors: int
    rejected: int
    nonfinite: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class BothCounts(Answer):
    canary: Counts
    stable: Counts


class OpenRollout(Ahead):
    """An open rollout with its live judgement; `holds` says what it waits for, "" while it goes on."""

    holds: str
    judgement: Judgement
    traffic: BothCounts


class ManualSplit(Answer):
    """A split of a person's own in percent: the one that is kept, and the one that waits for its deployments.

    `until` is by when they have to be ready.
    """

    kept: dict[str, int] | None
    asked: dict[str, int] | None
    until: datetime | None


class Endpoint(Answer):
    """An endpoint as it is: the split in force in percent, what runs, and its open rollout.

    `rate` is how many predictions a second an operator lets through; null: as the platform says. `aliases` has the
    deployment that each names; `champion` and `previous` are the platform's own. `manual_split` is null while rollouts
    move the split.
    """

    name: str
    owner: str
    split: dict[str, int]
    deployments: dict[str, Running]
    promoted: str
    previous: str
    previous_until: datetime | None
    rollout: OpenRollout | None
    last_rollout: str
    rate: float | None
    aliases: dict[str, str]
    manual_split: ManualSplit | None


class Key(Answer):
    id: str
    name: str
    scopes: list[str]
    created: datetime
    revoked: datetime | None


class MadeKey(Key):
    """The only answer that holds the key itself."""

    key: str


class Caller(Answer):
    key_id: str
    scopes: list[str]


class Document(BaseModel):
    """An OpenAPI document."""

    openapi: str


class Prediction(BaseModel):
    """What the model answered; its form is the model's. Headers name model, version, digest and deployment."""


class Page(Answer):
    """A part of a list; `next` is the `after` of the part behind it, null at the end."""

    next: str | None


class Models(Page):
    models: list[Model]


class Versions(Page):
    versions: list[Version]


class Drops(Page):
    drops: list[Drop]


class Endpoints(Page):
    endpoints: list[Endpoint]


class Rollouts(Page):
    rollouts: list[RolloutSummary]


class Keys(Page):
    keys: list[Key]


_LISTS = (Models, Versions, Drops, Endpoints, Rollouts, Keys)
_SINGLE = (
    Model,
    Version,
    Rollout,
    Disagreements,
    Endpoint,
    Key,
    MadeKey,
    Caller,
    Document,
    Prediction,
)
ANSWERS: dict[str, type[BaseModel]] = {model.__name__: model for model in (*_LISTS, *_SINGLE, *TO_CI)}
