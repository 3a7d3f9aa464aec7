"""The template as CloudFormation would get it, and the part of it that moto's CloudFormation can make."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
CODE = "s3://code/placeholder.zip"

# What is taken out of the copy that moto makes, and why. `stack.Stack` makes what has "by API" from the template's own
# values; a test holds this table against the translated template.
LEFT_OUT: Mapping[str, str] = {
    "AWS::S3::BucketPolicy": "moto denies what a Deny names, whatever its conditions say",
    "AWS::SQS::QueuePolicy": "moto's CloudFormation lacks it: made by API",
    "AWS::Scheduler::ScheduleGroup": "moto's CloudFormation lacks it: made by API",
    "AWS::CloudWatch::Alarm": "moto's CloudFormation lacks it: made by API",
    "AWS::Events::Archive": "moto's CloudFormation takes its pattern for text: made by API",
    "AWS::ApiGateway::RestApi": "moto makes it without its body: requests go through `stack.call` by the body's paths",
    "AWS::ApiGateway::Deployment": "as the RestApi",
    "AWS::ApiGateway::Stage": "moto's CloudFormation lacks it; as the RestApi",
    "AWS::Lambda::Permission": "most name the RestApi; moto's rules and API never ask for permission",
    "AWS::Lambda::EventInvokeConfig": "moto's CloudFormation lacks it: retries of a scheduled invocation",
    "Custom::ModeldropTeardown": "moto would invoke the function in a container: `stack.delete` calls its handler",
}
# Single resources of kinds that moto does make.
LEFT_OUT_RESOURCES: Mapping[str, str] = {
    "ReSyncRule": "moto sends every event to a rule without a pattern, and fails at its target, a function",
}


@functools.cache
def _translated(parameters: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    template = parsed()
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & set(resource["Properties"]):
            resource["Properties"][name] = CODE
    # The session is asked for its region only.
    session = boto3.Session(region_name="us-east-1")
    made: dict[str, Any] = Translator({}, Parser(), None, session).translate(template, dict(parameters))
    return made


def parsed() -> dict[str, Any]:
    """Return template.yaml as it is written, its functions in their long form."""
    return copy.deepcopy(_parsed())


@functools.cache
def _parsed() -> dict[str, Any]:
    made: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return made


def translated(parameters: Mapping[str, str] = {}) -> dict[str, Any]:
    """Return the template without SAM's own resources. SAM resolves some references to parameters by itself."""
    return copy.deepcopy(_translated(tuple(sorted(parameters.items()))))


def decided(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the translated template as the parameters decide it: no condition is left, nor what they leave out.

    By ourselves, for moto leaves a null where CloudFormation takes an element out of a list.
    """
    template = translated(parameters)
    given = {name: said.get("Default", "") for name, said in template["Parameters"].items()} | dict(parameters)
    holds = _Conditions(template.pop("Conditions"), given)
    template.pop("Rules")
    made = template["Resources"].items()
    template["Resources"] = {name: one for name, one in made if holds.named(one.pop("Condition", ""))}
    return dict(holds.prune(template))


_NOTHING = object()


@dataclass(frozen=True)
class _Conditions:
    """The template's conditions, which depend on its parameters alone."""

    said: Mapping[str, Any]
    given: Mapping[str, Any]

    def named(self, name: str) -> bool:
        return not name or self.true(self.said[name])

    def true(self, condition: Any) -> bool:
        match condition:
            case {"Condition": name}:
                return self.named(name)
            case {"Fn::Not": [one]}:
                return not self.true(one)
            case {"Fn::And": several}:
                return all(self.true(one) for one in several)
            case {"Fn::Or": several}:
                return any(self.true(one) for one in several)
            case {"Fn::Equals": [a, b]}:
                return str(self.value(a)) == str(self.value(b))
        raise NotImplementedError(condition)

    def value(self, said: Any) -> Any:
        match said:
            case {"Ref": name}:
                return self.given[name]
            case {"Fn::Join": [_, one]}:
                return self.value(one)  # of a list that came as text
        return said

    def prune(self, value: Any) -> Any:
        """Choose among what each Fn::If offers, and take out what is no value."""
        match value:
            case {"Fn::If": [name, yes, no]}:
                return self.prune(yes if self.named(name) else no)
            case {"Ref": "AWS::NoValue"}:
                return _NOTHING
            case dict():
                pruned = {key: self.prune(item) for key, item in value.items()}
                return {key: item for key, item in pruned.items() if item is not _NOTHING}
            case list():
                return [item for item in map(self.prune, value) if item is not _NOTHING]
        return value


def for_moto(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return what moto can make of it, the mappings disabled: the harness polls."""
    template = decided(parameters)
    left_out = {name for name, made in template["Resources"].items() if is_left_out(name, made)}
    names = {name: template["Resources"][name]["Properties"].get("Name") for name in left_out}
    template["Resources"] = {n: _lone(made, left_out) for n, made in template["Resources"].items() if n not in left_out}
    for made in template["Resources"].values():
        if made["Type"] == "AWS::Lambda::EventSourceMapping":
            made["Properties"]["Enabled"] = False
    template["Outputs"].pop("ApiUrl")
    return _without_refs(template, names)


def is_left_out(name: str, resource: Mapping[str, Any]) -> bool:
    return resource["Type"] in LEFT_OUT or name in LEFT_OUT_RESOURCES


def _lone(resource: dict[str, Any], gone: set[str]) -> dict[str, Any]:
    after = resource.get("DependsOn", [])
    kept = [name for name in ([after] if isinstance(after, str) else after) if name not in gone]
    return {key: value for key, value in resource.items() if key != "DependsOn"} | ({"DependsOn": kept} if kept else {})


def _without_refs(value: Any, names: Mapping[str, Any]) -> Any:
    """Say the name of what was left out where it is referred to."""
    match value:
        case {"Ref": str(name)} if name in names:
            return names[name]
        case dict():
            return {key: _without_refs(item, names) for key, item in value.items()}
        case list():
            return [_without_refs(item, names) for item in value]
    return value
