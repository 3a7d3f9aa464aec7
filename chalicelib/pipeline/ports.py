"""What the verbs need from the world. Every implementation passes the same contract suite (tests/contracts)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from chalicelib.domain.catalog import CatalogEntry
from chalicelib.domain.deploy import Bounds
from chalicelib.domain.deployment import ONE as ONE  # noqa: PLC0414 - fleets take it, verbs give it
from chalicelib.domain.deployment import Capacity as Capacity  # noqa: PLC0414
from chalicelib.domain.deployment import Deployment, Running
from chalicelib.domain.errors import Gone as Gone  # adapters raise it, verbs catch it  # noqa: PLC0414
from chalicelib.domain.hook_audit import AuditLine
from chalicelib.domain.invocation import Call, Reply
from chalicelib.domain.limits import Limits
from chalicelib.domain.objects import StoredObject
from chalicelib.domain.policy import NO_POLICY, Policy
from chalicelib.domain.proof import Served
from chalicelib.domain.question import Question
from chalicelib.domain.record import Doc as Doc  # adapters make them, verbs read them  # noqa: PLC0414
from chalicelib.domain.record import Write as Write  # noqa: PLC0414
from chalicelib.domain.rollout import Plan
from chalicelib.domain.signed_upload import SignedUpload
from chalicelib.domain.traffic import Traffic
from chalicelib.domain.transition import Transition


class Bucket(Protocol):
    """One bucket. Reads name what was listed (VersionId, else If-Match) and raise Gone when it isn't there any more."""

    def list(self, prefix: str = "") -> Sequence[StoredObject]:
        """Return the current objects under a prefix, sorted by key."""
        ...

    def read(self, item: StoredObject, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        ...

    def stream(self, item: StoredObject) -> Iterator[bytes]:
        """Yield the object's bytes once, in blocks of about a MiB."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return a small object's current bytes; None where there is none."""
        ...

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None: ...

    def put_parts(self, key: str, parts: Iterator[bytes]) -> None:
        """Write an object from parts of PART_SIZE bytes (the last may be shorter), holding one part in memory."""
        ...

    def delete(self, keys: Sequence[str]) -> None: ...

    def open_uploads(self, keys: Sequence[str]) -> Sequence[tuple[str, datetime]]:
        """Return (key, begun) of unfinished multipart uploads to those keys or below those that end with a slash."""
        ...


class Registry(Protocol):
    """Records with revisions, and the outbox that is written with them."""

    def get(self, kind: str, id: str) -> Doc | None: ...  # noqa: A002

    def list(self, kind: str, prefix: str = "") -> Sequence[Doc]:
        """Return the records of a kind whose ids begin with `prefix`, sorted by id."""
        ...

    def commit(self, writes: Sequence[Write], transitions: Sequence[Transition] = ()) -> None:
        """Do all writes or none; raises domain.errors.Conflict when a revision isn't the expected one.

        The transitions are kept for the timeline and the outbox; one whose id is already there is dropped.
        """
        ...

    def timeline(self, *, subject: str = "", rollout: str = "", limit: int = 200) -> Sequence[Transition]:
        """Return transitions, oldest first, of a subject or a rollout (the newest `limit`)."""
        ...

    def unsent(self, limit: int = 100) -> Sequence[Transition]: ...

    def mark_sent(self, ids: Sequence[str]) -> None: ...


class Fleet(Protocol):
    """What runs deployments. All calls return soon; progress is seen by observing."""

    def ensure(self, deployment: Deployment, capacity: Capacity = ONE) -> None:
        """Start it unless it runs, and give it the room. A failed one is started anew only after `stop`."""
        ...

    def observe(self, deployment_id: str) -> Running: ...

    def lacks(self, deployment: Deployment) -> str:
        """Return what it would need and isn't there, in words; "" when it can be asked for.

        It is what can be told beforehand: a cloud says only when it is asked that it has no instance.
        """
        ...

    def stop(self, deployment_id: str) -> None:
        """Drain and stop it; nothing happens when it doesn't run."""
        ...

    def deployments(self, before: datetime | None = None) -> Sequence[str]:
        """Return the ids of all that runs, starts, stops or has failed; with `before`, of what is older than that."""
        ...


class Invoker(Protocol):
    """Asks one deployment, past the split."""

    def invoke(self, deployment_id: str, call: Call, seconds: float) -> Reply:
        """Return the deployment's answer, waiting about that long; raises NoAnswer, TimedOut or Busy. No retries."""
        ...


class Metrics(Protocol):
    """What the gateway counted."""

    def traffic(self, deployment_id: str, since: datetime) -> Traffic:
        """Return what was counted for a deployment since then: all but what came in the first ten seconds at most.

        Nothing counts that came more than a tenth of a second before.
        """
        ...

    def rate(self, deployment_id: str) -> float | None:
        """Return the requests a second that a deployment had of late (`rate_of_late`); None where nobody counted."""
        ...


class Prober(Protocol):
    """Asks as a caller does, on the public path, who answers. Nothing is predicted and nothing is counted."""

    def ask(self, endpoint: str, keys: Sequence[str]) -> Mapping[str, Served]:
        """Return who answers each sticky key; one that nobody answers in a second or two is left out."""
        ...


class Timers(Protocol):
    """One-shot timers, one for each name: a wake-up says "look again" and nothing else (`pipeline.wakeups`)."""

    def set(self, name: str, at: datetime) -> None:
        """Wake the name at that moment or soon after; one set before keeps the earlier moment, unless it is past."""
        ...


class Bus(Protocol):
    """Where transitions are told to the world."""

    def publish(self, transitions: Sequence[Transition]) -> None:
        """Send all or raise; a receiver tells repeats by their ids."""
        ...


class Sealer(Protocol):
    """How an object of the drop becomes one of the model store, byte by byte the same."""

    def copy(self, item: StoredObject, key: str, *, sha256: str = "") -> str:
        """Copy the very bytes that were listed to a key of the store and return their `file_digest`.

        Raises Gone when they aren't there any more, and Rejected (`digest_mismatch`) when the SHA-256 of the whole
        isn't the one that was promised ("" promises none).
        """
        ...

    def release(self, items: Sequence[StoredObject]) -> None:
        """Say that the store has those objects: the drop needn't keep them for ever."""
        ...


class Catalog(Protocol):
    """Where a cloud's own people look for models."""

    def put(self, entry: CatalogEntry) -> None:
        """Make or renew the entry of a version: there is never a second one of the same version and digest."""
        ...


class Uploads(Protocol):
    """Lets somebody write to the drop who has no credentials of it."""

    def sign(self, key: str, size: int, sha256: str, within: timedelta) -> SignedUpload:
        """Return requests that write this key and no other, with this many bytes, until then.

        In one piece the store refuses bytes with another SHA-256, too, if it can.
        """
        ...


class Audit(Protocol):
    """Where calls without a key are written down."""

    def __call__(self, line: AuditLine) -> None:
        """Keep a line; of refused calls as many as no flood can fill a disk with (`domain.hook_audit.tell`)."""
        ...


class Questions(Protocol):
    """Whom the operator named for gates to ask."""

    def may_go_on(self, name: str, question: Question) -> bool:
        """Return whether they say yes; called again and again until they do. No answer is no yes, nor is any failure.

        It may be the answer to an earlier call, where waiting for one would hold up others.
        """
        ...


class Nobody:
    """Is asked where no one was named: a person has to approve."""

    def may_go_on(self, name: str, question: Question) -> bool:
        del name, question
        return False


class Clock(Protocol):
    def __call__(self) -> datetime:
        """Return the time now, aware, in UTC."""
        ...


def _unkept(line: AuditLine) -> None:
    """Keep nothing: for a function that answers no hooks."""


@dataclass(frozen=True)
class Ports:
    """Everything that the verbs need, wired once."""

    drop: Bucket
    store: Bucket  # the model store: uploaders can't write it
    sealer: Sealer
    registry: Registry
    fleet: Fleet
    invoker: Invoker
    metrics: Metrics
    timers: Timers
    bus: Bus
    clock: Clock
    bounds: Bounds
    defaults: Plan = field(default_factory=Plan)  # of a rollout whose drop doesn't say otherwise
    instance_type: str = ""  # of a deployment whose drop names none, on a fleet that has such
    questions: Questions = field(default_factory=Nobody)
    catalog: Catalog | None = None  # None where there is no such place
    prober: Prober | None = None  # None where nobody can ask: then each replica's own word is all there is
    audit: Audit = _unkept
    uploads: Uploads | None = None  # None where nobody asks for any
    no_co_resident: str = ""  # why two deployments can't share a device here; "" where they can
    limits: Limits = field(default_factory=Limits)  # of validation
    policy: Policy = NO_POLICY  # what the operator makes of its findings
    quiet: timedelta = timedelta(seconds=5)  # since the newest object of an upload
    pace: timedelta = timedelta(seconds=0.5)  # between looks at an open rollout, whatever else may wake it
    slice: timedelta = timedelta(seconds=2)  # that one wake-up may ask a deployment questions for
