"""What a function on AWS costs: `python benchmarks/lambda_cost.py [--gb 10]`, run from the repository's root.

Everything is measured on what `sam build` made, by the runtime's Python. Cold starts are CPU time in new processes,
each round beside `import boto3` in a process of its own: a ratio says more of other machines than milliseconds do. The
artifacts of many gigabytes lie in MinIO; the validate function's own handler judges them, called as Lambda calls it.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from moto import mock_aws

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "serving_image")]

from benchmarks.validation import keep, machine, quiet_load  # noqa: E402
from benchmarks.validation_artifacts import GB, MB, Made, archive, big_saved_model  # noqa: E402
from benchmarks.validation_store import PREFIX, stored  # noqa: E402
from chalicelib.domain.errors import NotFound  # noqa: E402
from chalicelib.local.home import Home  # noqa: E402
from chalicelib.local.stores.minio_admin import Credentials  # noqa: E402
from chalicelib.local.stores.seam import DROP, MODEL_STORE  # noqa: E402
from chalicelib.pipeline.records import Drop  # noqa: E402
from tests.aws.aws_world import records_of  # noqa: E402
from tests.aws.package_world import (  # noqa: E402
    CLIENTS,
    TRACED,
    Package,
    PackagedStack,
    Runtime,
    build,
    copy_checkout,
    local_aws,
    pack,
)
from tests.aws.stack import CREDENTIALS, REGION  # noqa: E402
from tools.runtime_python import find_python  # noqa: E402

ROUNDS = 31
# The most that an import with its clients may cost, in imports of boto3.
MOST = {"ApiFunction": 2.5, "ValidateFunction": 2.5, "AdvanceFunction": 3.0}
# What a function uses of the parts that wiring makes late.
LATE = {"AdvanceFunction": "ports.fleet.observe", "ApiFunction": "wiring.predictor()"}
LAYER_MB, PEAK_MB = 8, 256
ONLY_ON = {"off": False, "on": True}
TIMED = """
import sys, time
sys.path[:0] = {path!r}
began = time.process_time()
{what}
print(time.process_time() - began)
"""
HANDLER = """
from app import handler
from chalicelib import wiring
ports = wiring.ports({function!r})
{more}
for service in {services!r}:
    wiring.Lazy(service).meta
"""


# --- cold starts ------------------------------------------------------------------------------------------------------
def cold_starts(package: Package, runtime: Runtime, rounds: int) -> dict[str, Any]:
    """Return the CPU milliseconds of boto3's import and of each function's, and how they compare in each round."""
    seen = [_round(package, runtime) for _ in range(rounds)]
    boto3 = [one["boto3"] for one in seen]
    functions = {
        name: {
            "ms": median(one[name] for one in seen),
            "ratio": median(one[name] / one["boto3"] for one in seen),
            "clients": list(services),
        }
        for name, services in CLIENTS.items()
    }
    return {"rounds": rounds, "boto3_ms": median(boto3), "functions": functions}


def _round(package: Package, runtime: Runtime) -> dict[str, float]:
    found = {"boto3": _cpu(runtime, [], "import boto3", {})}
    for name, services in CLIENTS.items():
        function = name.removesuffix("Function").lower()
        code = HANDLER.format(services=services, function=function, more=LATE.get(name, ""))
        found[name] = _cpu(runtime, package.path(name), code, _told(package, name))
    return found


def _cpu(runtime: Runtime, path: Sequence[str], what: str, told: Mapping[str, str]) -> float:
    """Return the CPU milliseconds of some statements in a process of its own."""
    code = TIMED.format(path=[*path, str(runtime.libraries)], what=what)
    command = [str(runtime.python), "-I", "-S", "-B", "-c", code]
    env = CREDENTIALS | {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, **told}
    return 1000 * float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


def _told(package: Package, function: str) -> dict[str, str]:
    """Return the function's environment: what the template says, and "1" for what only a stack knows."""
    said = package.functions[function].properties["Environment"]["Variables"]
    return {name: package.default_of(value, "1") for name, value in said.items()}


def tracer(package: Package, runtime: Runtime) -> dict[str, bool]:
    """Tell whether X-Ray's SDK is loaded, with tracing off and on."""
    path = package.path("AdvanceFunction")
    told = _told(package, "AdvanceFunction") | CREDENTIALS | {"AWS_DEFAULT_REGION": REGION} | TRACED
    off_and_on = {"off": told, "on": told | {"MODELDROP_TRACING": "true"}}
    modules = {k: runtime.call(path, "app.handler", None, env).found["modules"] for k, env in off_and_on.items()}
    return {switch: "aws_xray_sdk" in names for switch, names in modules.items()}


# --- memory -----------------------------------------------------------------------------------------------------------
def peak(files: Mapping[str, Made], package: Package, runtime: Runtime) -> dict[str, Any]:
    """Have the validate function's handler judge an upload that lies in MinIO."""
    with stored(files) as home, _stack(home, package, runtime) as stack:
        body = json.dumps({"wake_up": f"look:{PREFIX}"})
        stack.client("sqs").send_message(QueueUrl=stack.physical("UploadsQueue"), MessageBody=body)
        stack.run(lambda: "ValidateFunction" in stack.outcomes and not stack.timers())
        [drop] = records_of(stack).list(Drop)
        made = stack.outcomes["ValidateFunction"]
    return {
        "bytes": sum(f.size for f in files.values()),
        "verdict": str(drop.value.report.verdict),
        "peak_mb": max(outcome.found["peak_kb"] for outcome in made) * 1024 / MB,
    }


@contextmanager
def _stack(home: Home, package: Package, runtime: Runtime) -> Iterator[PackagedStack]:
    """Yield a stack of moto's whose buckets are MinIO's."""
    credentials = Credentials.load(home.credentials)
    if credentials is None:
        raise NotFound(f"{home.credentials}: no MinIO was started there")
    os.environ.update(CREDENTIALS)
    with mock_aws(), local_aws() as endpoint:
        stack = PackagedStack.create({"QuietSeconds": "1"})
        stack.package, stack.runtime, stack.endpoint = package, runtime, endpoint
        stack.more = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{credentials.port}",
            "AWS_ACCESS_KEY_ID": credentials.root_user,
            "AWS_SECRET_ACCESS_KEY": credentials.root_password,
            "AWS_SESSION_TOKEN": "",
            "MODELDROP_DROP_BUCKET": DROP,
            "MODELDROP_STORE_BUCKET": MODEL_STORE,
        }
        yield stack


# --- what is told -----------------------------------------------------------------------------------------------------
def goals(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    functions, layer = seen["cold_starts"]["functions"], seen["zipped"]["DependencyLayer"] / MB
    return [
        *(
            _goal(f"import and clients of {n}, in imports of boto3", f"<= {most}", f"{r:.2f}", r <= most)
            for n, most in MOST.items()
            for r in [functions[n]["ratio"]]
        ),
        _goal("dependency layer, zipped", f"<= {LAYER_MB} MB", f"{layer:.2f} MB", layer <= LAYER_MB),
        _goal("X-Ray's SDK is loaded", "only when on", _loaded(seen["tracer"]), seen["tracer"] == ONLY_ON),
        *(_peak_goal(what, made) for what, made in seen["memory"].items()),
    ]


def _loaded(seen: Mapping[str, bool]) -> str:
    return ", ".join(f"{switch}: {'yes' if loaded else 'no'}" for switch, loaded in seen.items())


def _peak_goal(what: str, made: Mapping[str, Any]) -> dict[str, Any]:
    measured = f"{made['peak_mb']:.0f} MB, {made['verdict']}"
    met = made["peak_mb"] <= PEAK_MB and made["verdict"] == "accept"
    name = f"peak memory of the validate function at a {what} of {made['bytes'] / GB:.1f} GB"
    return _goal(name, f"<= {PEAK_MB} MB", measured, met)


def _goal(name: str, goal: str, measured: str, met: bool) -> dict[str, Any]:  # noqa: FBT001
    return {"name": name, "goal": goal, "measured": measured, "met": met}


def as_markdown(found: Mapping[str, Any]) -> str:
    out, m, cold = io.StringIO(), found["machine"], found["cold_starts"]
    out.write("# On Lambda: cold starts, sizes, memory\n\n")
    out.write(f"`python benchmarks/lambda_cost.py` on {m['cores']} cores of {m['cpu']}, Python {found['runtime']}; ")
    out.write(f"load when the timed part began {found['load']:.2f}.\n\n")
    out.write("| goal | wanted | measured | met |\n|---|---|---|---|\n")
    for g in found["goals"]:
        out.write(f"| {g['name']} | {g['goal']} | {g['measured']} | {'yes' if g['met'] else '**no**'} |\n")
    out.write("\n| function | CPU ms | in imports of boto3 | clients made |\n|---|---|---|---|\n")
    out.write(f"| `import boto3` alone | {cold['boto3_ms']:.0f} | 1 | |\n")
    for name, one in cold["functions"].items():
        out.write(f"| {name} | {one['ms']:.0f} | {one['ratio']:.2f} | {', '.join(one['clients'])} |\n")
    out.write(f"\nMedians of {cold['rounds']} rounds; each is one new process for boto3 and one for each function.\n\n")
    out.write("| zip | kB |\n|---|---|\n")
    for name, size in found["zipped"].items():
        out.write(f"| {name} | {size / 1000:.1f} |\n")
    return out.getvalue()


def measure(gb: float) -> dict[str, Any]:
    python = find_python()
    if python is None:
        raise NotFound("there is no Python of the runtime's version: see tools/runtime_python.py")
    with tempfile.TemporaryDirectory(prefix="modeldrop-lambda-") as folder:
        checkout, unpacked, kept = (Path(folder, name) for name in ("checkout", "lambda", "runtime"))
        for path in (checkout, unpacked, kept):
            path.mkdir()
        runtime = Runtime.of(python, kept)
        package = pack(build(copy_checkout(checkout), python), unpacked)
        mar, _ = archive(int(gb * GB))
        memory = {
            "SavedModel": peak(big_saved_model(int(gb * GB)), package, runtime),
            ".mar": peak({"model.mar": mar}, package, runtime),
        }
        return {
            "load": quiet_load(),
            "cold_starts": cold_starts(package, runtime, ROUNDS),
            "tracer": tracer(package, runtime),
            "zipped": {p.name: p.zipped for p in (*package.layers.values(), *package.functions.values())},
            "memory": memory,
            "runtime": runtime.version,
        }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gb", type=float, default=10, help="size of the artifacts that memory is measured at")
    seen = measure(options.parse_args().gb)
    result = {"machine": machine(), **seen, "goals": goals(seen)}
    keep("lambda", result, as_markdown(result))
    print(as_markdown(result))


if __name__ == "__main__":
    main()
