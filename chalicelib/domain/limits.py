"""Where validation stops. Apart from the formats: who passes the limits on needn't load what reads artifacts."""

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.domain.findings import Finding, Severity


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
    opcodes: int = 100_000_000  # of the pickles of one file
    python: str = "3.12"  # of the serving image
    no_containers: str = ""  # why this platform's fleet runs no image of a drop's; "": it does
    # Codes that the operator's policy lets pass: reading goes on behind them, because nothing else would read the rest.
    tolerated: frozenset[str] = frozenset()

    def stops(self, findings: Iterable[Finding]) -> bool:
        """Tell whether one of the findings rejects, so that what is costly to read needn't be read."""
        return any(f.severity is Severity.ERROR and f.code not in self.tolerated for f in findings)
