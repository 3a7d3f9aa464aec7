"""Load by wrk: the same request again and again over kept connections, and what came of it."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from chalicelib.domain.errors import NotFound

# wrk speaks its results as Lua values: its printed text rounds them.
_SCRIPT = """
wrk.method = "POST"
local file = assert(io.open({body}, "rb"))
wrk.body = file:read("*a")
file:close()
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "us": %d, "p50": %f, "p99": %f, "max": %f, "connect": %d, "read": %d, "write": %d, '
      .. '"timeout": %d, "status": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""
ERRORS = ("connect", "read", "write", "timeout", "status")
TIMEOUT = 10  # seconds for one answer


@dataclass(frozen=True)
class Target:
    """One URL that takes one request."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """One run of wrk. `errors` names what failed and how often; such a run says nothing of speed."""

    rate: float  # answers a second
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: Mapping[str, int] = field(default_factory=dict)


def load(target: Target, *, connections: int, seconds: float) -> Seen:
    """Send requests for some seconds (wrk takes whole ones), each connection one after the other."""
    program = shutil.which("wrk")
    if program is None:
        raise NotFound("wrk isn't installed; `apt-get install wrk`")
    with tempfile.TemporaryDirectory(prefix="modeldrop-wrk-") as folder:
        script = write_script(target, Path(folder))
        command = [
            program,
            "--threads",
            "1",
            "--connections",
            str(connections),
            "--duration",
            f"{max(1, round(seconds))}s",
        ]
        command += ["--timeout", f"{TIMEOUT}s", "--script", str(script), target.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return seen_of(done.stdout)


def write_script(target: Target, folder: Path) -> Path:
    """Write what wrk is to do, beside the body that it sends."""
    body, script = folder / "body", folder / "load.lua"
    body.write_bytes(target.body)
    # JSON's strings are Lua's where they are ASCII.
    headers = "\n".join(f"wrk.headers[{json.dumps(n)}] = {json.dumps(v)}" for n, v in target.headers.items())
    script.write_text(_SCRIPT.format(body=json.dumps(str(body)), headers=headers))
    return script


def seen_of(said: str) -> Seen:
    """Read what our script has wrk print at its end."""
    found = json.loads(said.strip().rpartition("\n")[2])
    errors = {name: found[name] for name in ERRORS if found[name]}
    if not found["requests"]:
        errors["no_answers"] = 1
    rate = found["requests"] * 1e6 / found["us"]
    return Seen(rate, found["p50"] / 1000, found["p99"] / 1000, found["max"] / 1000, errors)


def middle(rounds: Sequence[Seen]) -> Seen:
    """Return the medians of some rounds; an error in one is an error of all."""
    errors: dict[str, int] = {}
    for one in rounds:
        for name, count in one.errors.items():
            errors[name] = errors.get(name, 0) + count
    return Seen(
        median(one.rate for one in rounds),
        median(one.p50_ms for one in rounds),
        median(one.p99_ms for one in rounds),
        max(one.max_ms for one in rounds),
        errors,
    )
