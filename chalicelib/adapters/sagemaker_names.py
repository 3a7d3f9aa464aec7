"""What things of ours are called in SageMaker, and which tags say whose they are.

Names are unique per account and region whatever their case, at most 63 letters, digits and hyphens, and the same on
every retry: they follow from the stack and from what is named. IAM is scoped to their prefix; the tags decide.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict

from chalicelib.domain.deployment import Deployment, Resources
from chalicelib.domain.refs import VersionRef

LONGEST = 63  # SageMaker's limit for models, endpoint configs, endpoints and model package groups
STACK = "modeldrop:stack"
DEPLOYMENT = "modeldrop:deployment"
VERSION = "modeldrop:version"
ENDPOINT = "modeldrop:endpoint"
SPEC = "modeldrop:spec"
MOST = "modeldrop:max-replicas"
MODEL = "modeldrop:model"
_HASH = 16
_STACK_KEY = 6
# CloudFormation can't hash or cut a name for its IAM statements; the first part of a stack's id it can take.
_ID = re.compile(r"(?:.*-)?([0-9a-f]{8})")


def stack_prefix(stack: str) -> str:
    """Return what all names of a stack begin with: the 8 hex digits that it is known by, else 6 of a hash."""
    found = _ID.fullmatch(stack)
    return f"md-{found.group(1) if found else _digest(stack)[:_STACK_KEY]}-"


def deployment_name(stack: str, deployment_id: str) -> str:
    """Return the name of a deployment's model, endpoint config and endpoint."""
    return _name(stack, deployment_id, "deployment")


def group_name(stack: str, model_id: str) -> str:
    """Return the name of a model's package group in the Model Registry."""
    return _name(stack, model_id, "group")


def _name(stack: str, named: str, kind: str) -> str:
    prefix, ending = stack_prefix(stack), _digest(kind, stack, named)[:_HASH]
    room = LONGEST - len(prefix) - len(ending) - 1
    slug = re.sub(r"[^a-z0-9]+", "-", named.lower())[:room].strip("-")
    return f"{prefix}{slug}-{ending}" if slug else f"{prefix}{ending}"


def spec_digest(deployment: Deployment) -> str:
    """Return the digest of everything that was asked for. The operator's own settings are no part of it.

    What has its default isn't in it: a release that knows one more wish mustn't disown what runs.
    """
    usual = asdict(Resources())
    asked = {name: value for name, value in asdict(deployment.resources).items() if value != usual[name]}
    return _digest(json.dumps({**asdict(deployment), "resources": asked}, sort_keys=True))


def deployment_tags(stack: str, deployment: Deployment) -> dict[str, str]:
    """Return the tags of a deployment's things; whose tags are others isn't ours, whatever its name."""
    return {
        STACK: stack,
        DEPLOYMENT: deployment.id,
        VERSION: str(deployment.ref),
        ENDPOINT: deployment.endpoint,
        SPEC: spec_digest(deployment),
        MOST: str(deployment.resources.max_replicas),
    }


def group_tags(stack: str, ref: VersionRef) -> dict[str, str]:
    return {STACK: stack, MODEL: ref.model_id}


def carries(tags: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether all wanted tags are there; people may add their own."""
    return wanted.items() <= tags.items()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
