"""What the predict function counts, for the judge: sharded counters of ten seconds each, in the registry's table.

Rows: pk `traffic#DEPLOYMENT#SHARD`, sk the first second of the slice since the epoch, ten digits. The shard is in the
partition key because that is what DynamoDB's 1,000 writes a second are per; a sum is a query of each shard.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from math import ceil
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.adapters.dynamodb_rows import rows
from chalicelib.domain.marks import kept_name
from chalicelib.domain.traffic import EDGES_MS, LATE, PARTS, Request, Traffic, rate_of_late, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from chalicelib.adapters.dynamodb_items import Row

SHARDS = 8
SLICE = 10  # seconds
KEPT = 86_400  # seconds
_MARK = "mark "  # and its name
_UNJUDGED = "unjudged"
_COUNTS = ("requests", "errors", "rejected", "nonfinite")
_LATENCY = "took"  # and the index of its bucket
_COARSE = "latency"  # of rows that an older build wrote: the index of a bucket as wide as PARTS of ours


class DynamoTraffic:
    """Counts by deployment, written by any number of functions. Implements the Metrics port."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: "Callable[[], datetime]") -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._names: dict[str, set[str]] = {}  # of marks, by deployment

    def count(self, deployment_id: str, *, status: int, milliseconds: float, nonfinite: bool) -> None:
        """Add one request that a deployment had; `status` 502 or 504 stands for no answer.

        An answer of DynamoDB's that is lost makes botocore add it again: counts are exact but for that.
        """
        self._add(deployment_id, _counted(request(status, milliseconds, nonfinite=nonfinite)))

    def mark(self, deployment_id: str, names: Iterable[str]) -> None:
        """Count what was seen of a deployment's answers, by name."""
        known = self._names.setdefault(deployment_id, set())
        kept = {kept_name(name, known) for name in names}
        known |= kept
        self._add(deployment_id, (f"{_MARK}{name}" for name in sorted(kept)))

    def tally(self, deployment_id: str, requests: int) -> None:
        """Add requests that nobody judges: they say how many come, and nothing else."""
        self._add(deployment_id, (_UNJUDGED,), requests)

    def take(self, name: str) -> bool:
        """Tell whether this is the first time in a day that a name is taken."""
        expires = int(self._clock().timestamp()) + KEPT
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"taken#{name}"}, "sk": {"S": "-"}},
                UpdateExpression="SET #expires = :expires",
                ConditionExpression="attribute_not_exists(pk)",
                ExpressionAttributeNames={"#expires": "expires"},
                ExpressionAttributeValues={":expires": {"N": str(expires)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _add(self, deployment_id: str, counted: Iterable[str], by: int = 1) -> None:
        """Add to each of these counters."""
        now = int(self._clock().timestamp())
        shard = random.randrange(SHARDS)  # noqa: S311 - spreads writes, guards nothing
        names = {f"#{at}": name for at, name in enumerate(counted)}
        self._client.update_item(
            TableName=self._table,
            Key={"pk": {"S": _partition(deployment_id, shard)}, "sk": {"S": _slice(now - now % SLICE)}},
            UpdateExpression="SET #expires = :expires ADD " + ", ".join(f"{name} :by" for name in names),
            ExpressionAttributeNames={"#expires": "expires", **names},
            ExpressionAttributeValues={":expires": {"N": str(now + KEPT)}, ":by": {"N": str(by)}},
        )

    def traffic(self, deployment_id: str, since: datetime) -> Traffic:
        """Return what was counted in the slices that began at `since` or later, for up to a day.

        The slice that `since` falls in is left out, because it may hold requests of the step before: up to the first
        ten seconds of a step are no evidence, and nothing from before it ever is.
        """
        seen = self._rows(deployment_id, since)
        requests, errors, rejected, nonfinite = (_sum(seen, name) for name in _COUNTS)
        return Traffic(requests, errors, rejected, nonfinite, _latencies(seen), _marks(seen))

    def rate(self, deployment_id: str) -> float:
        """Return the requests a second of late, judged or not."""
        now = self._clock()
        seen = self._rows(deployment_id, now - LATE)
        counted = [(now.timestamp() - int(row["sk"]["S"]), _all_of(row)) for row in seen]
        return rate_of_late(counted)

    def _rows(self, deployment_id: str, since: datetime) -> "Sequence[Row]":
        first = ceil(since.timestamp() / SLICE) * SLICE
        shards = (_partition(deployment_id, shard) for shard in range(SHARDS))
        return [row for pk in shards for row in rows(self._client, self._table, pk, first=_slice(first))]


def _partition(deployment_id: str, shard: int) -> str:
    return f"traffic#{deployment_id}#{shard}"


def _slice(second: int) -> str:
    return f"{second:010}"


def _counted(one: Request) -> Iterator[str]:
    """Yield the names of the counters that one request adds to."""
    claims = (True, one.error, one.rejected, one.nonfinite)
    yield from (name for name, claimed in zip(_COUNTS, claims, strict=True) if claimed)
    if one.latency is not None:
        yield f"{_LATENCY}{one.latency}"


def _latencies(seen: "Sequence[Row]") -> tuple[int, ...]:
    """Sum the buckets; a coarse one counts in the slowest of the fine ones that it covers."""
    found = [0] * (len(EDGES_MS) + 1)
    for row in seen:
        for name, value in row.items():
            if name.startswith(_LATENCY):
                found[int(name.removeprefix(_LATENCY))] += int(value["N"])
            elif name.startswith(_COARSE):
                found[min(int(name.removeprefix(_COARSE)) * PARTS, len(EDGES_MS))] += int(value["N"])
    return tuple(found)


def _marks(seen: "Sequence[Row]") -> dict[str, int]:
    names = {name for row in seen for name in row if name.startswith(_MARK)}
    return {name.removeprefix(_MARK): _sum(seen, name) for name in sorted(names)}


def _all_of(row: "Row") -> int:
    return _sum([row], "requests") + _sum([row], _UNJUDGED)


def _sum(seen: "Sequence[Row]", name: str) -> int:
    return sum(int(row[name]["N"]) for row in seen if name in row)
