"""What an operator sets, as YAML or JSON: what `deploy.yaml` in a drop may ask for, validation's limits and policy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from chalicelib.domain.codes import CODES
from chalicelib.domain.deploy import Bounds
from chalicelib.domain.errors import Rejected
from chalicelib.domain.limits import Limits
from chalicelib.domain.policy import NO_POLICY, Action, Policy
from chalicelib.domain.refs import NAME_RULE, is_legal

_NOTHING = ("", "{}")
_VALIDATION = "validation"
_DEFAULTS = Limits()
_FOLLOWING = ("tolerated", "no_containers")  # from the policy, and from what the fleet is
_SETTABLE = tuple(f.name for f in fields(Limits) if f.name not in _FOLLOWING)
_PYTHON = re.compile(r"3\.\d{1,2}")


@dataclass(frozen=True)
class OperatorSettings:
    """What an operator says, the rest at its defaults."""

    bounds: Bounds = field(default_factory=Bounds)
    limits: Limits = field(default_factory=Limits)
    policy: Policy = NO_POLICY


def parse_operator_settings(text: str) -> OperatorSettings:
    """Return what a text sets; raises Rejected, naming the field."""
    if text.strip() in _NOTHING:
        return OperatorSettings()
    import yaml  # noqa: PLC0415  # a function on AWS whose operator sets nothing needn't load it

    try:
        given = _mapping(yaml.safe_load(text), "the document")
        validation = _mapping(given.pop(_VALIDATION, None), _VALIDATION)
        TypeAdapter(checked(Bounds, frozen=True, config=ConfigDict(extra="forbid"))).validate_python(given)
        bounds = TypeAdapter(Bounds).validate_python(given)
        _questions(bounds.questions)
        _known(validation, ("limits", "policy"), _VALIDATION)
        limits = _limits(_mapping(validation.get("limits"), f"{_VALIDATION}.limits"))
        return OperatorSettings(bounds, limits, _policy(_mapping(validation.get("policy"), f"{_VALIDATION}.policy")))
    except yaml.YAMLError as error:
        raise Rejected(f"it can't be read as YAML: {error}", code="bad_bounds") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise Rejected(f"{where}: {first['msg']}", code="bad_bounds") from error


def _questions(urls: Mapping[str, str]) -> None:
    for name, url in urls.items():
        _hold(is_legal(name), f"questions: {name[:100]!r}", f"a name: {NAME_RULE}")
        parts = urlsplit(url)
        _hold(parts.scheme in {"http", "https"} and parts.hostname, f"questions.{name}", "a URL, https://HOST/…")


def _limits(given: Mapping[str, Any]) -> Limits:
    where = f"{_VALIDATION}.limits"
    _known(given, _SETTABLE, where)
    for name, value in given.items():
        if name == "python":
            _hold(isinstance(value, str) and _PYTHON.fullmatch(value), f"{where}.{name}", "a version such as '3.12'")
        else:
            kind = type(getattr(_DEFAULTS, name))
            _hold(type(value) is kind and value > 0, f"{where}.{name}", f"{kind.__name__} above 0")
    return replace(_DEFAULTS, **given)


def _policy(given: Mapping[str, Any]) -> Policy:
    actions = [str(a) for a in Action]
    _known(given, tuple(sorted(CODES)), f"{_VALIDATION}.policy")
    for code, action in given.items():
        _hold(action in actions, f"{_VALIDATION}.policy.{code}", f"one of {', '.join(actions)}")
    return Policy({str(code): Action(action) for code, action in given.items()})


def _mapping(value: Any, where: str) -> dict[str, Any]:
    """Return a mapping, {} for nothing."""
    _hold(value is None or isinstance(value, dict), where, "a mapping")
    return dict(value or {})


def _known(given: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in given:
        near = get_close_matches(str(name), names, n=1)
        _hold(name in names, f"{where}.{str(name)[:100]}", near[0] if near else f"one of {', '.join(names)}")


def _hold(claim: object, where: str, rule: str) -> None:
    if not claim:
        raise Rejected(f"{where} must be {rule}", code="bad_bounds")
