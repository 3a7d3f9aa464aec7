"""What came of the demo, and whether it is what was promised."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from load import Tally
from rich.table import Table

WANTED: Mapping[str, str] = {"v1": "promoted", "v2": "promoted", "v3": "rolled_back"}


@dataclass(frozen=True)
class Dropped:
    """One dropped version's end. `seconds` from its last file's upload to that end."""

    version: str
    format: str
    phase: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    store: str
    seconds: float  # of the whole demo
    drops: Sequence[Dropped]
    tallies: Mapping[str, Tally]  # by version; "" for requests that nobody answered
    errors: Sequence[str]  # what failed requests said, each once
    left_behind: Sequence[str]  # processes that outlived the platform
    pictures: Sequence[Path]

    @property
    def requests(self) -> int:
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def failed(self) -> int:
        return sum(tally.failed for tally in self.tallies.values())

    def as_json(self) -> dict[str, Any]:
        shortfall = shortfalls(self)
        body = asdict(self) | {"pictures": [str(path) for path in self.pictures]}
        return body | {"requests": self.requests, "failed": self.failed, "ok": not shortfall, "shortfalls": shortfall}


def shortfalls(outcome: Outcome) -> list[str]:
    """Return what didn't come out as promised, one sentence each; nothing when all did."""
    return [
        *_wrong_ends(outcome.drops),
        *_wrong_answers(outcome),
        *(f"process {left} outlived the platform" for left in outcome.left_behind),
        *(f"{path} was not written" for path in outcome.pictures if not path.is_file()),
        *(["no picture was drawn"] if not outcome.pictures else []),
    ]


def _wrong_ends(drops: Sequence[Dropped]) -> list[str]:
    ended = {each.version: each for each in drops}
    said = []
    for version, wanted in WANTED.items():
        if version not in ended:
            said.append(f"{version} was never rolled out")
        elif ended[version].phase != wanted:
            said.append(f"{version} ended {ended[version].phase}, not {wanted}: {ended[version].reason}")
    return said


def _wrong_answers(outcome: Outcome) -> list[str]:
    said = []
    if not outcome.requests:
        return ["no request was made"]
    if outcome.failed:
        said.append(f"{outcome.failed} of {outcome.requests} requests failed: {'; '.join(outcome.errors[:3])}")
    before, after = outcome.tallies.get("v1"), outcome.tallies.get("v2")
    if not before or not after:
        missing = [version for version, seen in (("v1", before), ("v2", after)) if not seen]
        said.append(f"no request was answered by {' or '.join(missing)}")
    elif after.accuracy <= before.accuracy:
        said.append(f"v2's accuracy is {after.accuracy:.1%}, no better than v1's {before.accuracy:.1%}")
    return said


def as_table(outcome: Outcome) -> Table:
    """Return what happened to each version as a table that fits a terminal of 80 columns."""
    table = Table(title="What happened", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    for column in ("version", "format", "end"):
        table.add_column(column, no_wrap=True)
    for column in ("took", "requests", "failed", "NaN", "right", "p95"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in outcome.drops:
        table.add_row(*_row(each, outcome.tallies.get(each.version)))
    return table


def _row(each: Dropped, seen: Tally | None) -> Sequence[str]:
    good = each.phase == WANTED.get(each.version)
    end = f"[{'green' if good else 'red'}]{each.phase.replace('_', ' ')}[/]"
    said = (each.version, each.format, end, f"{each.seconds:.0f} s")
    if seen is None:
        return (*said, "0", "", "", "", "")
    counts = (f"{seen.requests:,}", str(seen.failed), str(seen.nonfinite))
    return (*said, *counts, f"{seen.accuracy:.1%}", f"{seen.p95_ms:.0f} ms")
