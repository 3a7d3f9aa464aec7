"""The functions and layers as `sam deploy` would send them, and Lambda's runtime to run them, without Docker or AWS.

`sam build` and `sam package` do the real work, in a copy of the checkout; moto's S3 takes the zips. Unzipped as Lambda
does, each function runs by the runtime's Python in a process whose path holds its own folder, the layers and boto3.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
from moto.server import ThreadedMotoServer
from samtranslator.yaml_helper import yaml_parse

from tests.aws.stack import CREDENTIALS, REGION, Stack

ROOT = Path(__file__).resolve().parents[2]
SAM = Path(sys.prefix) / "sam" / "bin"  # where `make` puts the SAM CLI
READ = ("template.yaml", "layers", "chalicelib", "functions")  # all that SAM reads
RUNNER = Path(__file__).with_name("package_runtime.py")
BUCKET = "what-sam-packs"
# What Lambda's environment has where tracing is on, besides our switch.
TRACED = {
    "LAMBDA_TASK_ROOT": "/var/task",
    "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
}
# The services that each function makes clients of on its way: a test holds them to what is made.
CLIENTS: Mapping[str, Sequence[str]] = {
    "ValidateFunction": ("dynamodb", "events", "s3", "scheduler", "sqs"),
    "AdvanceFunction": ("application-autoscaling", "dynamodb", "events", "sagemaker", "scheduler"),
    "ApiFunction": ("dynamodb", "sagemaker-runtime"),
}
FUNCTION, LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
# SAM has to do without anything of the user's, and without Docker.
NOTHING = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "DOCKER_HOST": "unix:///there/is/no/docker",
    "SAM_CLI_TELEMETRY": "0",
}


@dataclass(frozen=True)
class Packed:
    """A function or layer: the zip that SAM sends, and where it is unzipped."""

    name: str
    zip: Path
    folder: Path
    properties: Mapping[str, Any]

    @property
    def zipped(self) -> int:
        return self.zip.stat().st_size


@dataclass(frozen=True)
class Package:
    """All that a template names, built, zipped and unzipped."""

    functions: Mapping[str, Packed]
    layers: Mapping[str, Packed]
    parameters: Mapping[str, Any]

    def path(self, function: str) -> list[str]:
        """Return what Lambda puts before the runtime's own libraries."""
        layers = [self.layers[ref["Ref"]].folder / "python" for ref in self.functions[function].properties["Layers"]]
        return [str(self.functions[function].folder), *map(str, layers)]

    def default_of(self, value: Any, otherwise: str) -> str:
        """Return what a value of the template is by its parameters' defaults."""
        match value:
            case {"Ref": str(name)} if name in self.parameters:
                return str(self.parameters[name].get("Default", otherwise))
            case str() | int():
                return str(value)
        return otherwise


@dataclass(frozen=True)
class Runtime:
    """Lambda's Python and the libraries that come with it."""

    python: Path
    libraries: Path
    standard: str  # where its standard library is
    magic: str  # of its bytecode
    version: str

    @classmethod
    def of(cls, python: Path, kept: Path) -> Self:
        """Ask an interpreter about itself; its libraries are kept in a folder."""
        wanted = "i.MAGIC_NUMBER.hex(), s.get_config_var('py_version'), s.get_path('stdlib')"
        ask = f"import importlib.util as i, sysconfig as s; print({wanted})"
        told = subprocess.run([str(python), "-I", "-c", ask], check=True, capture_output=True, text=True).stdout
        magic, version, standard = told.rstrip("\n").split(" ", 2)
        return cls(python, runtime_libraries(kept, python), standard, magic, version)

    def call(
        self,
        path: Sequence[str],
        handler: str,
        event: Any,
        environment: Mapping[str, str],
        *,
        name: str = "function",
        seconds: int = 60,
    ) -> "Outcome":
        """Import a handler, and call it unless the event is None, in a process that sees nothing but its path."""
        wanted = {"path": [*path, str(self.libraries)], "handler": handler, "event": event}
        done = subprocess.run(
            [str(self.python), "-I", "-S", "-B", str(RUNNER)],
            input=json.dumps(wanted | {"name": name, "seconds": seconds}),
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        *lines, last = done.stdout.rstrip("\n").split("\n")
        return Outcome(json.loads(last), "\n".join(lines))


@dataclass(frozen=True)
class Outcome:
    """What came of a call, and what the process had loaded by then."""

    found: Mapping[str, Any] = field(repr=False)
    logged: str = field(repr=False)

    @property
    def answer(self) -> Any:
        assert "raised" not in self.found, "".join(self.found["trace"]) + self.logged
        return self.found["answer"]


# --- what SAM makes ---------------------------------------------------------------------------------------------------
def sam(*command: str, cwd: Path, python: Path | None = None, more: Mapping[str, str] | None = None) -> str:
    """Run the SAM CLI, or what comes with it, without credentials; return what it says. It has to succeed."""
    path = [str(SAM), *([str(python.parent)] if python else []), os.environ["PATH"]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    state = {"PATH": os.pathsep.join(path), "__SAM_CLI_APP_DIR": str(cwd / ".sam-state"), "AWS_DEFAULT_REGION": REGION}
    env = kept | NOTHING | state | (more or {})
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)}: {said}"
    return said


def copy_checkout(into: Path) -> Path:
    """Copy what SAM reads, stray bytecode and all."""
    for name in READ:
        source = ROOT / name
        shutil.copytree(source, into / name) if source.is_dir() else shutil.copy(source, into / name)
    return into


def build(checkout: Path, python: Path) -> Path:
    """Have SAM build a checkout; return the folder with the built template."""
    sam("sam", "build", cwd=checkout, python=python)
    return checkout / ".aws-sam" / "build"


def pack(built: Path, into: Path) -> Package:
    """Have SAM zip and send what it built to an S3 of ours, and unzip what arrived."""
    packaged = built / "packaged.yaml"
    with local_aws() as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, **_keys())
        client.create_bucket(Bucket=BUCKET)
        sam(
            *("sam", "package", "--region", REGION, "--s3-bucket", BUCKET, "--output-template-file", str(packaged)),
            cwd=built,
            more=CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint},
        )
        template = yaml_parse(packaged.read_text())
        functions, layers = (dict(_fetched(client, template, kind, into)) for kind in (FUNCTION, LAYER))
    return Package(functions, layers, template["Parameters"])


def _fetched(client: Any, template: Mapping[str, Any], kind: str, into: Path) -> Iterator[tuple[str, Packed]]:
    inherited = template["Globals"]["Function"] if kind == FUNCTION else {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == kind:
            properties = inherited | resource["Properties"]
            place = urlsplit(properties.get("CodeUri") or properties["ContentUri"])
            body, folder = into / f"{name}.zip", into / name
            client.download_file(place.netloc, place.path.lstrip("/"), str(body))
            _unzip(body, folder)
            yield name, Packed(name, body, folder, properties)


def _keys() -> dict[str, str]:
    return {name.lower(): value for name, value in CREDENTIALS.items()}


def _unzip(body: Path, folder: Path) -> None:
    """Unzip as Lambda does: each file has the date that the zip says."""
    with zipfile.ZipFile(body) as archive:
        archive.extractall(folder)
        for info in archive.infolist():
            moment = time.mktime((*info.date_time, 0, 0, -1))
            os.utime(folder / info.filename, (moment, moment))


def runtime_libraries(kept: Path, python: Path) -> Path:
    """Return a folder with what Lambda's runtime brings, installed once: boto3 and what it needs."""
    constraints = ROOT / "constraints.txt"
    [pin] = [line for line in constraints.read_text().splitlines() if line.startswith("boto3==")]
    folder = kept / f"{pin.replace('==', '-')}-{python.name}"
    if not folder.exists():
        building = kept / f"{folder.name}.{os.getpid()}"
        quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
        install = [str(python), "-m", "pip", "install", *quiet, "--target", str(building), "-c", str(constraints), pin]
        subprocess.run(install, check=True)
        building.rename(folder)
    return folder


# --- what runs it -----------------------------------------------------------------------------------------------------
@contextmanager
def local_aws() -> Iterator[str]:
    """Serve moto to other processes; what is made in this one is there, too. Yields the URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@dataclass
class PackagedStack(Stack):
    """A stack whose functions run from their zips, each call in a new process of the runtime's Python."""

    package: Package | None = None
    runtime: Runtime | None = None
    endpoint: str = ""  # of AWS
    more: Mapping[str, str] = field(default_factory=dict)  # of every function's environment
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    def invoke(self, function: str, event: Any) -> Any:
        assert self.package
        assert self.runtime
        name = self.physical(function)
        lambdas = {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        outcome = self.runtime.call(
            self.package.path(function),
            self.package.functions[function].properties["Handler"],
            event,
            CREDENTIALS | lambdas | self.environment(function) | self.more,
            name=name,
        )
        self.outcomes.setdefault(function, []).append(outcome)
        return outcome.answer
