"""Every call that a function makes of AWS, noted on its way through botocore: which function, what it asks, the answer.

It hangs on botocore's own events, which every client emits, whoever made it and when; the harness says which function
is running by Lambda's own variable. What the fakes call while they answer (a container that reads its files) is theirs.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.handlers import BUILTIN_HANDLERS

from chalicelib import wiring

_RUNNING = "AWS_LAMBDA_FUNCTION_NAME"
_NOTED = "modeldrop_noted"  # in botocore's own context of a request


@dataclass
class Call:
    """What was asked, and the code of the error that came back ("" without one)."""

    function: str  # its name in AWS
    service: str  # as botocore's clients are named
    operation: str
    asked: Mapping[str, Any]
    error: str = "no answer"

    def __str__(self) -> str:
        return f"{self.service} {self.operation}"


@dataclass
class Recorder:
    """`failing` holds an error for the next call of an operation of S3's, as "FUNCTION.Operation"."""

    calls: list[Call] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)
    _under_way: threading.local = field(default_factory=threading.local)

    @contextmanager
    def installed(self) -> Iterator["Recorder"]:
        """Note the calls of every client that is made meanwhile."""
        specs = [
            ("provide-client-params", self._begin),
            ("before-send.s3", self._fail),
            ("after-call", self._end),
            ("after-call-error", self._break),
        ]
        BUILTIN_HANDLERS.extend(specs)
        boto3.DEFAULT_SESSION, before = None, boto3.DEFAULT_SESSION
        wiring._session.cache_clear()  # one that is there already has the handlers of before
        try:
            yield self
        finally:
            boto3.DEFAULT_SESSION = before
            wiring._session.cache_clear()
            for spec in specs:
                BUILTIN_HANDLERS.remove(spec)

    def _begin(self, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        function = os.environ.get(_RUNNING, "")
        if not function or getattr(self._under_way, "call", None):
            return
        call = Call(function, _client_name(model.service_model), model.name, dict(params))
        if context.get("is_presign_request"):  # never sent by the function, but in its name
            self.calls.append(replace(call, error=""))
            return
        self._under_way.call = context[_NOTED] = call
        self.calls.append(call)

    def _fail(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        under_way = getattr(self._under_way, "call", None)
        if not under_way or under_way.service != "s3":
            return None
        what = f"{under_way.function.split('-', 2)[2]}.{event_name.split('.')[2]}"
        code = self.failing.get(what, "")
        if code == "NoSuchVersion" and not {"VersionId", "CopySource"} & set(under_way.asked):
            return None
        self.failing.pop(what, None)
        said = f"<Error><Code>{code}</Code><Message>it failed once</Message></Error>".encode()
        return AWSResponse(request.url, 404, {}, _Raw(said)) if code else None

    def _end(self, parsed: Mapping[str, Any], context: Mapping[str, Any], **_: Any) -> None:
        if call := context.get(_NOTED):
            call.error = parsed.get("Error", {}).get("Code", "")
            self._under_way.call = None

    def _break(self, context: Mapping[str, Any], **_: Any) -> None:
        if _NOTED in context:
            self._under_way.call = None


class _Raw(BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def _client_name(service: Any) -> str:
    """Return the name that `create_client` takes: the model's folder."""
    return str(service.service_name)
