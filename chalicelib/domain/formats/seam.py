"""What a format of artifacts is to the rest: how it is recognised, and how one upload of it is judged."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chalicelib.domain.findings import ArtifactFormat, Finding, Severity
from chalicelib.domain.objects import Upload


class Reader(Protocol):
    """Reads the files of one upload by their paths. Where the bytes come from is an adapter's business."""

    def read(self, path: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        ...

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the file's bytes once, in blocks."""
        ...


@dataclass(frozen=True)
class Limits:
    """Where validation stops: past one of these an artifact is rejected. The operator sets them."""

    objects: int = 1_000  # files of one upload
    entries: int = 10_000  # of one archive
    expanded: int = 64 * 2**30  # bytes of all entries of one archive
    ratio: int = 200  # expanded to stored, once it is large
    source: int = 2**20  # bytes of a handler's or a manifest's text
    index: int = 64 * 2**20  # bytes of variables.index
    manifest: int = 8 * 2**20  # bytes of _manifest.json
    python: str = "3.12"  # of the serving image
    # Codes that the operator's policy lets pass: reading goes on behind them, because nothing else would read the rest.
    tolerated: frozenset[str] = frozenset()

    def stops(self, findings: Iterable[Finding]) -> bool:
        """Tell whether one of the findings rejects, so that what is costly to read needn't be read."""
        return any(f.severity is Severity.ERROR and f.code not in self.tolerated for f in findings)


@dataclass(frozen=True)
class Judgement:
    """What a format says of an upload: what is still missing, what is wrong, and what could be read."""

    findings: tuple[Finding, ...] = ()
    missing: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One kind of artifact. `judge` reads each byte at most once and never runs any."""

    name: ArtifactFormat
    artifact: str  # the file that makes an upload one of this kind, as told to people
    recognises: Callable[[Collection[str]], bool]
    judge: Callable[[Upload, Reader, Limits], Judgement]
    artifacts: tuple[str, ...] = ()  # where one of several files makes it one; else `artifact`
    also: tuple[str, ...] = ()  # other files and folders (with a slash) that can't be a pointer or a page instead

    @property
    def is_made_by(self) -> tuple[str, ...]:
        return self.artifacts or (self.artifact,)
