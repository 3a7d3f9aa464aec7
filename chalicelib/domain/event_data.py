"""What each kind of event carries as `data`: what a receiver may build on, and what every event told is held to.

Within a major version of the schema there are only additions: kinds, and fields that an event may lack. A change of
what is there needs the next major version (`transition.SCHEMA_VERSION`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

_exact = with_config(ConfigDict(extra="forbid"))
Split = Annotated[dict[str, int], Field(description="whole percents of the traffic by deployment; their sum is 100")]


@_exact
class Nothing(TypedDict):
    """The event's kind and subject say it all."""


@_exact
class Validated(TypedDict):
    """A summary of an upload's validation; the report has every finding."""

    verdict: Literal["accept", "reject", "incomplete"]
    format: Literal["saved_model", "torch_archive", "python_predictor", "container"] | None
    errors: int
    warnings: int
    codes: Annotated[list[str], Field(description="of the findings, each once, 20 at most")]
    changed_by_policy: Annotated[int, Field(description="findings that the operator's policy made another")]


@_exact
class Registered(Validated):
    digest: Annotated[str, Field(description="of the sealed version")]


@_exact
class Judged(TypedDict):
    """The verdict that the event follows from, as of the moment of the decision."""

    outcome: Literal["pass", "fail", "inconclusive"]
    reason: Annotated[str, Field(description="a comparison with its numbers, for people; its words may change")]
    numbers: Annotated[dict[str, float], Field(description="what was compared, such as canary_requests")]
    samples_needed: Annotated[int, Field(description="canary requests that are missing; 0 unless inconclusive")]


@_exact
class OfRollout(TypedDict):
    endpoint: str
    version: Annotated[str, Field(description="MODEL/VERSION of the canary")]


@_exact
class StepNeed(TypedDict):
    """What a step needs to pass when nothing is wrong."""

    weight: Annotated[int, Field(description="percent of the requests that the canary gets")]
    canary_requests: int
    endpoint_requests: int
    seconds: Annotated[float | None, Field(description="that they take at this rate; null: never, or not known")]


@_exact
class Opened(OfRollout):
    """What the rollout starts, said before it starts."""

    instances: int
    instance_type: Annotated[str, Field(description="empty on one machine")]
    instance_hours_at_least: float
    requests_per_second: NotRequired[
        Annotated[float | None, Field(description="of the endpoint, of late; null where they weren't counted")]
    ]
    needs: NotRequired[Annotated[list[StepNeed], Field(description="of each step that is judged")]]
    downtime_s: NotRequired[
        Annotated[float | None, Field(description="for how long nothing answers; null: never measured")]
    ]


@_exact
class Moved(OfRollout):
    """The split in force from now on; where the canary was judged before, by which verdict."""

    split: Split
    judgement: NotRequired[Judged]


@_exact
class Drifted(OfRollout):
    """Something serves otherwise than was asked: the message says what; the rollout's end follows."""

    split: Annotated[Split, Field(description="as it was found")]


@_exact
class Examined(OfRollout):
    """How the canary's answers to its golden.jsonl were, before any traffic."""

    lines: Annotated[int, Field(description="that were asked")]
    missed: Annotated[int, Field(description="that weren't answered as they expect, or not at all")]
    metrics: Annotated[dict[str, float], Field(description="by name, those that the file has a threshold for")]
    passed: bool


@_exact
class Waiting(Moved):
    gate: Annotated[int, Field(description="percent of the step that waits for approval")]


@_exact
class Approved(OfRollout):
    """Who approved it is in the message; of one that was asked, the split and the verdict are told, too."""

    split: NotRequired[Split]
    judgement: NotRequired[Judged]
    gate: Annotated[int, Field(description="percent of the step that was approved")]


@_exact
class FellBack(Moved):
    instance_type: Annotated[str, Field(description="that is tried now")]


@_exact
class Synthesized(OfRollout):
    """Requests that were made up, asked of both sides for want of callers' own."""

    requests: Annotated[int, Field(description="to each side")]
    origin: Annotated[str, Field(description="golden.jsonl, warmup.jsonl or schema")]
    canary_errors: int
    stable_errors: int


@_exact
class Returned(TypedDict):
    split: Split


@_exact
class Alias(TypedDict):
    """People's own name for a deployment, and what it names; of one that was removed, what it named."""

    alias: str
    version: Annotated[str, Field(description="MODEL/VERSION")]
    deployment: str


class Parked(TypedDict):
    """An event that a webhook's receiver didn't take."""

    webhook: str
    event: Annotated[str, Field(description="the id of the event that wasn't taken")]
    event_kind: str
    attempts: int
    last: Annotated[str, Field(description="what came of the last attempt, for people")]


@_exact
class Divided(TypedDict):
    """The split in force afterwards, by deployment, and the one that is meant, by MODEL/VERSION."""

    split: Split
    versions: dict[str, int]


KINDS: Mapping[str, Any] = {
    "drop.seen": Nothing,
    "drop.rejected": Validated,
    "version.registered": Registered,
    "version.changed": Nothing,
    "rollout.queued": OfRollout,
    "rollout.opened": Opened,
    "rollout.examined": Examined,
    "rollout.fell_back": FellBack,
    "rollout.shadowing": Moved,
    "rollout.shifted": Moved,
    "rollout.extended": Moved,
    "rollout.synthesized": Synthesized,
    "rollout.gate_waiting": Waiting,
    "rollout.approved": Approved,
    "rollout.recreating": Moved,
    "rollout.baking": Moved,
    "rollout.returning": Moved,
    "rollout.promoted": Moved,
    "rollout.drifted": Drifted,
    "rollout.rolled_back": Moved,
    "rollout.failed": Moved,
    "rollout.aborted": Moved,
    "rollout.superseded": OfRollout,
    "rollout.paused": OfRollout,
    "rollout.resumed": OfRollout,
    "rollout.promote_asked": OfRollout,
    "rollout.abort_asked": OfRollout,
    "endpoint.rolled_back": Returned,
    "rollout.held_back": OfRollout,
    "endpoint.split_asked": Divided,
    "endpoint.split_set": Divided,
    "endpoint.split_failed": Divided,
    "endpoint.split_ended": Divided,
    "endpoint.alias_set": Alias,
    "endpoint.alias_removed": Alias,
    "deployment.drifted": Nothing,
    "deployment.revived": Nothing,
    "deployment.swept": Nothing,
    "copy.swept": Nothing,
    "webhook.parked": Parked,
}
