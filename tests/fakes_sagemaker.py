"""SageMaker in memory, as strict as AWS: stateful, slow, and able to lie. Answers real boto3 clients.

It hangs on botocore's `before-send` of sagemaker, sagemaker-runtime and application-autoscaling, the hook that moto
uses: botocore has validated and serialised by then and parses what comes back. Handlers of a named service are asked
before moto's, so `mock_aws` may be on at the same time.

    with FakeSageMaker(clock, container).installed() as aws:   # also for clients that a handler makes by itself
        boto3.client("sagemaker", region_name="us-east-1").create_model(...)

Where its strictness comes from: the limits in botocore's own model of the services (`constraint`); AWS's API reference
for what is refused when (DeleteEndpoint, UpdateEndpointWeightsAndCapacities, DeleteEndpointConfig, EndpointSummary,
RegisterScalableTarget); the words of errors as people report them: `Cannot create already existing model "ARN".`,
`Could not find endpoint configuration "ARN".`, `Cannot update in-progress endpoint "ARN".`, `Endpoint NAME of account
ID not found.`, `No scalable target registered for …`. Time passes by the given clock alone.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from io import BytesIO
from urllib.parse import unquote, urlsplit

import boto3
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError
from botocore.handlers import BUILTIN_HANDLERS

from tests.fakes_sagemaker_hosting import Fate, Hosting
from tests.fakes_sagemaker_packages import Packages
from tests.fakes_sagemaker_runtime import Container, Runtime
from tests.fakes_sagemaker_scaling import Scaling
from tests.fakes_sagemaker_words import ACCOUNT, Refused, invalid

# By the ids that botocore's events have; the values are the names that its loader knows.
SERVICES = {
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker-runtime",
    "application-auto-scaling": "application-autoscaling",
}
# What becomes of an endpoint: `aws.fate = lambda config: NO_CAPACITY`.
SLOW = Fate(seconds=3000)
NO_CAPACITY = Fate(
    ends="Failed",
    reason="Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry "
    "using a different ML instance type or after some time.",
)
EMPTY_FAILURE = Fate(ends="Failed")
NO_PING = Fate(
    ends="Failed",
    reason="The primary container for production variant main did not pass the ping health check. Please check "
    "CloudWatch logs for this endpoint.",
)


class Killed(BaseException):
    """The process ends at an outgoing call: nothing of ours catches it, and botocore doesn't either."""


@dataclass
class Fault:
    """Something that goes wrong with the next `times` calls of an operation."""

    operation: str
    times: int
    after: bool  # the call has had its effect
    error: Exception


@dataclass
class FakeSageMaker:
    """`calls` are (operation, parameters as sent); `fate` decides what becomes of a new endpoint."""

    clock: Callable[[], datetime]
    container: Container
    region: str = "us-east-1"
    page: int = 2  # most in one answer of a listing: paging is always needed
    calls: list[tuple[str, dict]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    kill: tuple[int, bool] = (0, False)  # at the call of that number, from 1; True: after its effect

    def __post_init__(self) -> None:
        self.active = False
        self.hosting = Hosting(self.clock, self.region, self.page)
        self.scaling = Scaling(self.hosting)
        self.packages = Packages(self.clock, self.hosting.tags, self.region, self.page)
        self.runtime = Runtime(self.hosting, self)

    @property
    def fate(self) -> Callable[[dict], Fate]:
        return self.hosting.fate

    @fate.setter
    def fate(self, fate: Callable[[dict], Fate]) -> None:
        self.hosting.fate = fate

    # --- faults ----------------------------------------------------------------------------------------------------
    def throttle(self, operation: str, times: int = 1) -> None:
        self.faults.append(Fault(operation, times, after=False, error=Refused("ThrottlingException", "Rate exceeded")))

    def lose_answer(self, operation: str, times: int = 1) -> None:
        """Have the call take effect and its answer never come."""
        lost = ReadTimeoutError(endpoint_url=f"https://{operation}")
        self.faults.append(Fault(operation, times, after=True, error=lost))

    # --- on botocore's hook ----------------------------------------------------------------------------------------
    def install(self, session: boto3.Session) -> None:
        """Answer the clients that a session makes from now on."""
        self.active = True
        for service in SERVICES:
            session.events.register_first(f"before-send.{service}", self)

    @contextmanager
    def installed(self) -> Iterator["FakeSageMaker"]:
        """Answer the clients of every session that is made meanwhile, boto3's default session too."""
        specs = [(f"before-send.{service}", self) for service in SERVICES]
        BUILTIN_HANDLERS.extend(specs)
        boto3.DEFAULT_SESSION, before = None, boto3.DEFAULT_SESSION
        self.active = True
        try:
            yield self
        finally:
            self.active = False
            boto3.DEFAULT_SESSION = before
            for spec in specs:
                BUILTIN_HANDLERS.remove(spec)

    def __call__(self, request, event_name: str, **_) -> AWSResponse | None:
        if not self.active:
            return None
        _, service, operation = event_name.split(".")
        try:
            status, headers, body = self._answer(SERVICES[service], operation, request)
        except Refused as refused:
            status, headers, body = refused.status, {"x-amzn-errortype": refused.code}, refused.body
        return AWSResponse(request.url, status, headers, _Raw(body))

    def _answer(self, service: str, operation: str, request) -> tuple[int, dict[str, str], bytes]:
        if service == "sagemaker-runtime":
            name = unquote(urlsplit(request.url).path.split("/")[2])
            self._called(operation, {"EndpointName": name})
            answer = self.runtime.invoke(name, request.headers, _bytes(request.body))
        else:
            asked = json.loads(_bytes(request.body))
            self._called(operation, asked)
            constraint(service, operation, asked)
            answer = 200, {}, json.dumps(self._operation(service, operation)(asked) or {}).encode()
        if self.kill == (len(self.calls), True):
            raise Killed
        self._fail(operation, after=True)
        return answer

    def _called(self, operation: str, asked: dict) -> None:
        self.calls.append((operation, asked))
        if self.kill == (len(self.calls), False):
            raise Killed
        self._fail(operation, after=False)

    def _operation(self, service: str, operation: str) -> Callable[[dict], dict | None]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        parts = (self.scaling,) if service == "application-autoscaling" else (self.hosting, self.packages)
        return next(getattr(part, name) for part in parts if hasattr(part, name))

    def _fail(self, operation: str, *, after: bool) -> None:
        for fault in self.faults:
            if fault.operation == operation and fault.after == after and fault.times:
                fault.times -= 1
                raise fault.error


class _Raw(BytesIO):
    def stream(self, **_) -> Iterator[bytes]:
        yield self.read()


def _bytes(body) -> bytes:
    if hasattr(body, "read"):
        return body.read()
    return body.encode() if isinstance(body, str) else body or b""


# --- what botocore knows of the limits but doesn't hold clients to --------------------------------------------------
@cache
def _model(service: str):
    return botocore.session.get_session().get_service_model(service)


def constraint(service: str, operation: str, asked: dict) -> None:
    """Raise ValidationException, worded as AWS does, for what is too long, too many or no legal name."""
    shape = _model(service).operation_model(operation).input_shape
    for path, value, rule in _violations(shape, asked, ""):
        raise invalid(
            f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: Member must {rule}"
        )


def _violations(shape, value, path: str):
    inner = {"structure": _of_structure, "list": _of_list, "map": _of_map}.get(shape.type_name)
    yield from inner(shape, value, path) if inner else ()
    yield from ((path, value, rule) for rule in _rules(shape, value))


def _of_structure(shape, value, path):
    for name, each in value.items():
        yield from _violations(shape.members[name], each, f"{path}.{name}" if path else name)


def _of_list(shape, value, path):
    for number, each in enumerate(value, start=1):
        yield from _violations(shape.member, each, f"{path}.{number}.member")


def _of_map(shape, value, path):
    for name, each in value.items():
        yield from _violations(shape.key, name, path)
        yield from _violations(shape.value, each, f"{path}.{name}")


def _rules(shape, value):
    size = value if shape.type_name in {"integer", "long", "float", "double"} else None
    length = len(value) if size is None and hasattr(value, "__len__") else size
    what = "have value" if size is not None else "have length"
    if length is not None and length > shape.metadata.get("max", length):
        yield f"{what} less than or equal to {shape.metadata['max']}"
    if length is not None and length < shape.metadata.get("min", length):
        yield f"{what} greater than or equal to {shape.metadata['min']}"
    if "enum" in shape.metadata and value not in shape.metadata["enum"]:
        yield f"satisfy enum value set: {shape.metadata['enum'][:3]}"
    if (pattern := shape.metadata.get("pattern")) and not _fits(pattern, value):
        yield f"satisfy regular expression pattern: {pattern}"


# Java's classes in Python's words; patterns of UTF-16 surrogates Python doesn't know, so they are let pass.
_CLASSES = {
    r"\p{Print}": "[ -~]",
    r"\p{L}": r"\w",
    r"\p{M}": "",
    r"\p{Z}": r"\s",
    r"\p{N}": r"\d",
    r"\p{S}": "$+<=>^`|~",
}
_PUNCTUATION = {r"\p{P}": r"!-#%-*,-/:;?@\[-\]_{}"}


def _fits(pattern: str, value: str) -> bool:
    for java, python in {"${1,128}": "", "${1,256}": "", **_CLASSES, **_PUNCTUATION}.items():
        pattern = pattern.replace(java, python)
    return "\\uD800" in pattern or re.fullmatch(pattern, value) is not None


__all__ = ["ACCOUNT", "EMPTY_FAILURE", "NO_CAPACITY", "NO_PING", "SLOW", "FakeSageMaker", "Fate", "Fault", "Killed"]
