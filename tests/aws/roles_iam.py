"""The roles of a stack as IAM would read them, and IAM's own decision over their statements.

Evaluated are Effect, Action, Resource and the conditions below. Not evaluated, because no role of ours has them:
NotAction, NotResource, Principal in a role's own policy, permission boundaries, session policies, service control
policies; those raise NotImplementedError or are somebody else's to set.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from tests.aws.roles_calls import Need
from tests.aws.stack import Stack


@dataclass(frozen=True)
class Statement:
    """One statement, resolved; `where` names it for people."""

    where: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()  # operator, key, values

    def matches(self, need: Need) -> Iterator[tuple[str, str]]:
        """Yield each (action, resource) of it that a need falls under."""
        if all(_holds(*condition, dict(need.context)) for condition in self.conditions):
            actions = [said for said in self.actions if _like(said.lower(), need.action.lower())]
            yield from ((a, r) for a in actions for r in self.resources if _like(r, need.resource))


def statement(where: str, said: Mapping[str, Any]) -> Statement:
    if unknown := set(said) - {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}:
        raise NotImplementedError(f"{where}: {', '.join(unknown)}")
    conditions = [
        (operator, key, _several(values))
        for operator, keys in said.get("Condition", {}).items()
        for key, values in keys.items()
    ]
    return Statement(
        f"{where} {said.get('Sid', '')}",
        said["Effect"],
        _several(said["Action"]),
        _several(said["Resource"]),
        tuple(conditions),
    )


def allowed(need: Need, identity: Sequence[Statement], resource: Sequence[Statement] = ()) -> bool:
    """Decide as IAM does in one account: a Deny anywhere denies, else an Allow of the role is wanted."""
    denied = any(any(one.matches(need)) for one in (*identity, *resource) if one.effect == "Deny")
    return not denied and any(any(one.matches(need)) for one in identity if one.effect == "Allow")


def unneeded(statements: Sequence[Statement], needs: Iterable[Need]) -> Iterator[str]:
    """Yield each action and each resource of each statement that nothing needs: without it, all would be allowed."""
    load: set[tuple[Statement, str]] = set()
    for need in needs:
        ways = [(one, *way) for one in statements for way in one.matches(need)]
        if len({(one, action) for one, action, _ in ways}) == 1:
            load.add((ways[0][0], ways[0][1]))
        if len({(one, resource) for one, _, resource in ways}) == 1:
            load.add((ways[0][0], ways[0][2]))
    for one in statements:
        for said in (*one.actions, *one.resources):
            if (one, said) not in load:
                yield f"{one.where}: {said}"


def role_of(stack: Stack, function: str) -> str:
    """Return the logical id of a function's role."""
    match stack.template["Resources"][function]["Properties"]["Role"]:
        case {"Fn::GetAtt": [str(role), "Arn"]}:
            return role
    raise NotImplementedError(f"{function}: a role that isn't the template's own")


def role_statements(stack: Stack, role: str) -> Iterator[Statement]:
    """Yield the statements of a role: its own, and those of the managed policies that it has."""
    made = stack.template["Resources"]
    properties = made[role]["Properties"]
    for policy in properties.get("Policies", []):
        yield from _statements(stack, role, policy["PolicyDocument"])
    for managed in properties.get("ManagedPolicyArns", []):
        match managed:
            case {"Ref": str(name)}:
                yield from _statements(stack, f"{role}+{name}", made[name]["Properties"]["PolicyDocument"])
            case _:
                raise NotImplementedError(f"{role}: managed policy {managed}")


def bucket_statements(stack: Stack) -> Iterator[Statement]:
    """Yield the statements of the buckets' and the queues' own policies."""
    for name, one in stack.template["Resources"].items():
        if one["Type"] in {"AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"}:
            yield from _statements(stack, name, one["Properties"]["PolicyDocument"])


def _statements(stack: Stack, where: str, document: Mapping[str, Any]) -> Iterator[Statement]:
    for said in document["Statement"]:
        yield statement(where, {**stack.resolve(said), **_logs(stack, said)})


def _logs(stack: Stack, said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say a log group's ARN as CloudFormation does, with its streams: moto's lacks the end."""
    match said["Resource"]:
        case {"Fn::Sub": str(text)} if text.endswith("Logs.Arn}"):
            return {"Resource": stack.resolve(said["Resource"]) + ":*"}
    return {}


def _several(said: Any) -> tuple[str, ...]:
    return (str(said),) if not isinstance(said, list) else tuple(str(one) for one in said)


# --- matching -------------------------------------------------------------------------------------------------------
@cache
def _like(pattern: str, value: str) -> bool:
    """IAM's wildcards are * and ? alone."""
    return fnmatchcase(value, re.sub(r"\[", "[[]", pattern))


def _holds(operator: str, key: str, values: Sequence[str], context: Mapping[str, str]) -> bool:
    """Decide a condition: on a key that a request doesn't have, only negated operators and …IfExists hold."""
    name = operator.removesuffix("IfExists")
    found = {k.lower(): v for k, v in context.items()}.get(key.lower())
    if name not in _OPERATORS:
        raise NotImplementedError(operator)
    negated = name.replace("Not", "", 1) if "Not" in name else ""
    if found is None:
        return bool(negated) or operator.endswith("IfExists")
    if negated:
        return not any(_OPERATORS[negated](value, found) for value in values)
    return any(_OPERATORS[name](value, found) for value in values)


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda said, found: said.lower() == found.lower(),
    "StringNotEquals": str.__ne__,
    "ArnNotEquals": str.__ne__,
}
