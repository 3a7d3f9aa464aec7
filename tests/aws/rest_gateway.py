"""API Gateway in front of a stack: its routes, its authorizer and its own errors, as the translated template says."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from moto.core import DEFAULT_ACCOUNT_ID

from tests.aws.stack import REGION, Stack

_INTEGRATION = "x-amazon-apigateway-integration"
_STAGE = "live"


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Refused(Exception):
    """A gateway response by its name."""


@dataclass(frozen=True)
class RestGateway:
    stack: Stack
    _known: dict[str, tuple[datetime, Mapping[str, Any]]] = field(default_factory=dict)  # answers of the authorizer

    def call(self, method: str, url: str, body: Any = b"", *, key: str = "", headers: Mapping[str, str] = {}) -> Reply:
        """Send a request; `body` is bytes, or what becomes JSON."""
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), "Content-Type": "application/json", **headers}
        asked = urlsplit(url)
        try:
            route = self._route(method, asked.path)
            caller = self._authorized(method, asked.path, sent) if self._asks(route[0], method) else {}
        except _Refused as refused:
            return self._own(str(refused))
        event = _event(method, asked, route, sent) | _body(body)
        event["requestContext"] |= {"authorizer": caller} if caller else {}
        answer = self.stack.invoke(self._function(route[0], method), event)
        text = answer["body"]
        raw = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        return Reply(answer["statusCode"], raw, {k.lower(): v for k, v in _headers(answer)})

    @property
    def _api(self) -> Mapping[str, Any]:
        body: Mapping[str, Any] = self.stack.template["Resources"]["Api"]["Properties"]["Body"]
        return body

    def _route(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """Return the template that a path fits and its variables; a literal segment comes before a variable one."""
        for template in sorted(self._api["paths"], key=lambda said: said.count("{")):
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
            found = re.fullmatch(pattern, path)
            if found and method.lower() in self._api["paths"][template]:
                return template, found.groupdict()
        raise _Refused("MISSING_AUTHENTICATION_TOKEN")

    def _asks(self, path: str, method: str) -> bool:
        """Tell whether a route has an authorizer."""
        return self._api["paths"][path][method.lower()]["security"] != [{"NONE": []}]

    def _function(self, path: str, method: str) -> str:
        uri = self._api["paths"][path][method.lower()][_INTEGRATION]["uri"]["Fn::Sub"]
        return re.search(r"\$\{(\w+)\.Arn\}", uri)[1]  # type: ignore[index]

    def _authorized(self, method: str, path: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
        """Return what the authorizer tells of the caller."""
        said = self._api["components"]["securitySchemes"]["ApiKeys"]
        token = headers.get(said["name"], "")
        rules = said["x-amazon-apigateway-authorizer"]
        if not re.search(rules["identityValidationExpression"], token):
            raise _Refused("UNAUTHORIZED")
        arn = f"arn:aws:execute-api:{REGION}:{DEFAULT_ACCOUNT_ID}:api/{_STAGE}/{method}{path}"
        answer = self._policy(token, arn, rules)
        if not _allows(answer["policyDocument"], arn):
            raise _Refused("ACCESS_DENIED")
        context = answer.get("context", {})
        assert all(isinstance(value, str | int | float | bool) for value in context.values()), context
        return {"principalId": answer["principalId"], **{name: str(value) for name, value in context.items()}}

    def _policy(self, token: str, arn: str, rules: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the authorizer's answer, kept for as long as the template says."""
        now, (until, answer) = self.stack.now, self._known.get(token, (self.stack.now, {}))
        if now < until:
            return answer
        function = rules["authorizerUri"]["Fn::Sub"][1]["__FunctionArn__"]["Fn::GetAtt"][0]
        asked = {"type": rules["type"].upper(), "authorizationToken": token, "methodArn": arn}
        try:
            answer = self.stack.invoke(function, asked)
        except Exception as error:
            if str(error) != "Unauthorized":
                raise
            self.stack.failures.remove(error)  # its way to say so
            raise _Refused("UNAUTHORIZED") from error
        self._known[token] = now + timedelta(seconds=rules["authorizerResultTtlInSeconds"]), answer
        return answer

    def _own(self, name: str) -> Reply:
        said = self._api["x-amazon-apigateway-gateway-responses"][name]
        return Reply(int(said["statusCode"]), said["responseTemplates"]["application/json"].encode())


def _allows(policy: Mapping[str, Any], arn: str) -> bool:
    effects = {statement["Effect"] for statement in policy["Statement"] if any(_names(statement, arn))}
    return "Allow" in effects and "Deny" not in effects


def _names(statement: Mapping[str, Any], arn: str) -> Iterator[bool]:
    resources = statement["Resource"]
    for resource in [resources] if isinstance(resources, str) else resources:
        yield fnmatchcase(arn, resource.replace("[", "[[]"))


def _body(body: Any) -> dict[str, Any]:
    """Return a body as it arrives: every media type is binary, so it comes in base64."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"body": base64.b64encode(raw).decode() if raw else None, "isBase64Encoded": bool(raw)}


def _event(method: str, split: SplitResult, route: tuple[str, dict[str, str]], headers: Mapping[str, str]) -> Any:
    """Return a REST API event (version 1) but for its body."""
    path, variables = route
    query = dict(parse_qsl(split.query)) or None
    return {
        "resource": path,
        "path": split.path,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": variables or None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": method,
            "path": f"/{_STAGE}{split.path}",
            "stage": _STAGE,
            "requestId": "6f8b2c1e-0000-4000-8000-000000000000",
            "identity": {"sourceIp": "192.0.2.1"},
        },
    }


def _headers(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from (answer.get("headers") or {}).items()
    yield from ((name, values[0]) for name, values in (answer.get("multiValueHeaders") or {}).items())
