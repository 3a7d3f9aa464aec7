"""What IAM asks about a call: the actions that it needs and the resources that it names, by two kept sources.

`iam_map.json` says which actions an operation needs (iam-dataset's map.json) and which resources an action is asked for
(the Service Authorization Reference). The map is made for policies that may be too wide, so it leaves out or adds a few
things: `_EXACT` says them for the calls that our adapters make, each with the page of AWS's documentation that says so.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import jmespath
from moto.core import DEFAULT_ACCOUNT_ID

from tests.aws.roles_recorder import Call
from tests.aws.stack import REGION

Entry = Mapping[str, Any]
_KEPT: Mapping[str, Any] = json.loads(Path(__file__).with_name("iam_map.json").read_text())
ACTIONS: Mapping[str, Any] = _KEPT["actions"]
CALLS: Mapping[str, Sequence[Entry]] = _KEPT["calls"]
_COMMON = {"Partition": ["aws"], "Region": [REGION], "Account": [DEFAULT_ACCOUNT_ID]}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Need:
    """An action on a resource (`*` where the action knows none), with what IAM knows of the request's conditions."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()
    why: str = field(default="", compare=False)


def needs(call: Call) -> Iterator[Need]:
    """Yield what IAM asks about a call. Raises LookupError for one that the kept sources don't know."""
    key = f"{call.service}.{call.operation}"
    if not CALLS.get(key):
        raise LookupError(f"{key} isn't in iam_map.json: run tools/dump_iam_map.py again")
    for entry in _EXACT.get(key, _as_mapped)(call):
        yield from _asked(entry, call)


# --- the map --------------------------------------------------------------------------------------------------------
def _as_mapped(call: Call) -> Iterable[Entry]:
    entries = CALLS[f"{call.service}.{call.operation}"]
    return [entry for entry in entries if _applies(entry.get("conditions"), call.asked)]


def _applies(condition: Mapping[str, str] | None, asked: Mapping[str, Any]) -> bool:
    """Tell whether the map's entry is about this request."""
    if not condition:
        return True
    found = jmespath.search(condition["lhs"], asked)
    match condition["op"]:
        case "Exists":
            return found not in (None, [], "")
        case "NotExists":
            return found in (None, [], "")
        case "NotEquals":
            return bool(found != condition["rhs"])
    raise NotImplementedError(condition)


def _asked(entry: Entry, call: Call) -> Iterator[Need]:
    action, context = entry["action"], tuple(entry.get("context", ()))
    for resource in _resources(entry, call.asked):
        yield Need(action, resource, context, why=f"{call}{entry.get('why', '')}")


def _resources(entry: Entry, asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ARNs that an action is asked for."""
    if "arn_override" in entry:
        yield from _values(entry["arn_override"]["template"], asked)
        return
    kinds = ACTIONS[entry["action"]]["resources"]
    given = {name: _values(said["template"], asked) for name, said in entry.get("resource_mappings", {}).items()}
    arns = {kind: [*_filled(said["arn"], _COMMON | given)] for kind, said in kinds.items()}
    for kind, template in entry.get("resourcearn_mappings", {}).items():
        arns[kind] = [arn for arn in _values(template, asked) if _fits(arn, kinds[kind]["arn"])]
    found = sorted({arn for several in arns.values() for arn in several})
    if kinds and not found:
        raise LookupError(f"{entry['action']}: no ARN of {', '.join(kinds)} can be made of {asked}")
    yield from found or ["*"]


def _filled(template: str, given: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a template's ARNs: none if one of its variables isn't known."""
    names = _VARIABLE.findall(template)
    for values in product(*(given.get(name, ()) for name in names)):
        filled = template
        for name, value in zip(names, values, strict=True):
            filled = filled.replace(f"${{{name}}}", value)
        yield filled


def _fits(arn: str, template: str) -> bool:
    return re.fullmatch(re.sub(r"\\\$\\\{\w+\\\}", r"[^:]+", re.escape(template)), arn) is not None


def _values(template: str, asked: Mapping[str, Any]) -> Sequence[str]:
    """Return what a template of the map stands for in a request; nothing where the request doesn't say it."""
    match template.strip("%").split("%"):
        case ["regex", said, pattern] if template.startswith("%%"):
            found = (re.search(pattern.removeprefix("/").removesuffix("/g"), value) for value in _values(said, asked))
            return [match[1] for match in found if match]
        case ["iftruthy", said, yes, no] if template.startswith("%%"):
            return _values(yes if _values(said, asked) else no, asked)
        case ["iftemplatematch", said] if template.startswith("%%"):
            return _values(said, asked)
    variables = re.findall(r"\$\{([^}]+)\}", template)
    each = [_several(jmespath.search(variable, asked)) for variable in variables]
    texts = []
    for values in product(*each):
        text = template
        for variable, value in zip(variables, values, strict=True):
            text = text.replace(f"${{{variable}}}", value)
        texts.append(text)
    return texts


def _several(found: Any) -> Sequence[str]:
    """Return a request's values as texts."""
    if found is None:
        return ()
    return [str(one) for one in found] if isinstance(found, list) else [str(found)]


# --- what the map leaves out or adds --------------------------------------------------------------------------------
_OBJECT = {"BucketName": {"template": "${Bucket}"}, "ObjectName": {"template": "${Key}"}}
_SOURCE = {"BucketName": {"template": "${CopySource.Bucket}"}, "ObjectName": {"template": "${CopySource.Key}"}}
_BUCKET = {"BucketName": {"template": "${Bucket}"}}


_MISSING = {"NoSuchKey", "NoSuchVersion", "404"}


def _told_missing(call: Call, bucket: Mapping[str, Any]) -> Iterator[Entry]:
    """API_GetObject, API_HeadObject, API_CopyObject: who may not list is told that it is forbidden (403)."""
    if call.error in _MISSING:
        yield {"action": "s3:ListBucket", "resource_mappings": bucket, "why": ", to be told that it isn't there,"}


def _get_object(call: Call) -> Iterator[Entry]:
    """API_GetObject: for a named version "you don't need GetObject"."""
    version = "Version" if "VersionId" in call.asked else ""
    yield {"action": f"s3:GetObject{version}", "resource_mappings": _OBJECT}
    yield from _told_missing(call, _BUCKET)


def _copy_object(call: Call) -> Iterator[Entry]:
    """API_CopyObject: read there, write here; tags are read and written too, unless they are replaced by none."""
    version = "Version" if "VersionId" in call.asked["CopySource"] else ""
    yield {"action": f"s3:GetObject{version}", "resource_mappings": _SOURCE}
    yield {"action": "s3:PutObject", "resource_mappings": _OBJECT}
    yield from _told_missing(call, _SOURCE)
    if call.asked.get("TaggingDirective") != "REPLACE":
        yield {"action": f"s3:GetObject{version}Tagging", "resource_mappings": _SOURCE}
        yield {"action": "s3:PutObjectTagging", "resource_mappings": _OBJECT}


def _upload_part_copy(call: Call) -> Iterator[Entry]:
    """API_UploadPartCopy: as a copy, and tags are the upload's."""
    version = "Version" if "VersionId" in call.asked["CopySource"] else ""
    yield {"action": f"s3:GetObject{version}", "resource_mappings": _SOURCE}
    yield {"action": "s3:PutObject", "resource_mappings": _OBJECT}
    yield from _told_missing(call, _SOURCE)


def _object_tagging(call: Call) -> Iterator[Entry]:
    """API_GetObjectTagging, API_PutObjectTagging: for a named version "you also need" the action of versions."""
    yield from _as_mapped(call)
    if "VersionId" in call.asked:
        of_version = call.operation.replace("Object", "ObjectVersion")
        yield {"action": f"s3:{of_version}", "resource_mappings": _OBJECT}


def _delete_objects(call: Call) -> Iterator[Entry]:
    """API_DeleteObjects: asked for each key, which the map doesn't say."""
    keys = {"BucketName": {"template": "${Bucket}"}, "ObjectName": {"template": "${Delete.Objects[].Key}"}}
    yield from ({**entry, "resource_mappings": keys} for entry in _as_mapped(call))


def _with_tags(call: Call) -> Iterator[Entry]:
    """Sagemaker's creates with Tags: "the user must also have AddTags" (API_AddTags)."""
    for entry in _as_mapped(call):
        yield entry if "arn_override" not in entry else {**entry, "context": [("iam:PassedToService", _SAGEMAKER)]}
        if "Tags" in call.asked and entry["action"] == f"sagemaker:{call.operation}":
            yield {**entry, "action": "sagemaker:AddTags", "why": " with Tags"}


def _create_endpoint(call: Call) -> Iterator[Entry]:
    """CreateEndpoint is asked for both, says the reference; its Tags are the endpoint's."""
    both = {
        "EndpointName": {"template": "${EndpointName}"},
        "EndpointConfigName": {"template": "${EndpointConfigName}"},
    }
    for entry in _with_tags(call):
        yield {**entry, "resource_mappings": both} if entry["action"] == "sagemaker:CreateEndpoint" else entry


def _create_package(_: Call) -> Iterator[Entry]:
    """A versioned package is called GROUP/NUMBER, and the number is AWS's to say."""
    name = {"ModelPackageName": {"template": "${ModelPackageGroupName}/1"}}
    yield {"action": "sagemaker:CreateModelPackage", "resource_mappings": name}


def _list_packages(_: Call) -> Iterator[Entry]:
    name = {"ModelPackageName": {"template": "${ModelPackageGroupName}/1"}}
    yield {"action": "sagemaker:ListModelPackages", "resource_mappings": name}


def _describe_package(_: Call) -> Iterator[Entry]:
    """A versioned package is asked for by its ARN."""
    arn = {"model-package": "${ModelPackageName}"}
    yield {"action": "sagemaker:DescribeModelPackage", "resourcearn_mappings": arn}


def _scalable_target(call: Call) -> Iterator[Entry]:
    """A target's id is AWS's to say; who may, is told by the service-namespace."""
    for entry in _as_mapped(call):
        mapped = {"ResourceId": {"template": "0ab1"}} if ACTIONS[entry["action"]]["resources"] else {}
        said = [("application-autoscaling:service-namespace", call.asked["ServiceNamespace"])]
        yield {**entry, "resource_mappings": mapped, "context": said}


def _schedule(call: Call) -> Iterator[Entry]:
    """The map has no Scheduler: its names are the reference's, its PassRole the user guide's (setting-up)."""
    names = {"GroupName": {"template": "${GroupName}"}, "ScheduleName": {"template": "${Name}"}}
    yield from ({**entry, "resource_mappings": names} for entry in _as_mapped(call))
    if "Target" in call.asked:
        passed = [("iam:PassedToService", "scheduler.amazonaws.com")]
        yield {"action": "iam:PassRole", "arn_override": {"template": "${Target.RoleArn}"}, "context": passed}


_SAGEMAKER = "sagemaker.amazonaws.com"
_EXACT: Mapping[str, Callable[[Call], Iterable[Entry]]] = {
    "s3.GetObject": _get_object,
    "s3.CopyObject": _copy_object,
    "s3.UploadPartCopy": _upload_part_copy,
    "s3.GetObjectTagging": _object_tagging,
    "s3.PutObjectTagging": _object_tagging,
    "s3.DeleteObjects": _delete_objects,
    "sagemaker.CreateModel": _with_tags,
    "sagemaker.CreateEndpointConfig": _with_tags,
    "sagemaker.CreateEndpoint": _create_endpoint,
    "sagemaker.CreateModelPackageGroup": _with_tags,
    "sagemaker.CreateModelPackage": _create_package,
    "sagemaker.ListModelPackages": _list_packages,
    "sagemaker.DescribeModelPackage": _describe_package,
    "application-autoscaling.RegisterScalableTarget": _scalable_target,
    "application-autoscaling.DeregisterScalableTarget": _scalable_target,
    "application-autoscaling.PutScalingPolicy": _scalable_target,
    "scheduler.CreateSchedule": _schedule,
    "scheduler.GetSchedule": _schedule,
    "scheduler.UpdateSchedule": _schedule,
}
