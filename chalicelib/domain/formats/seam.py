"""What a format of artifacts is to the rest: how it is recognised, and how one upload of it is judged."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chalicelib.domain.findings import ArtifactFormat, Finding
from chalicelib.domain.limits import Limits as Limits  # every format is given them  # noqa: PLC0414
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
