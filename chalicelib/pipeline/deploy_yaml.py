"""The text of a `deploy.yaml`, as what it settles for a version."""

from dataclasses import replace
from typing import Any

from chalicelib.domain.deploy import Settled, settle
from chalicelib.domain.errors import Rejected
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.strategy import Placement
from chalicelib.domain.strict_yaml import parse
from chalicelib.domain.wishes import wishes_from
from chalicelib.domain.yaml_limits import BadYaml
from chalicelib.pipeline.ports import Ports

_LARGEST = 65_536  # bytes


def settled(ref: VersionRef, text: str, ports: Ports) -> Settled:
    """Return the endpoint, plan and resources that a version gets; raises Rejected naming the field."""
    found = settle(wishes_from(_mapping(text)), ports.defaults, ports.bounds, ref)
    if found.plan.placement is Placement.CO_RESIDENT and ports.no_co_resident:
        raise Rejected(f"deploy.yaml: placement co_resident: {ports.no_co_resident}", code="past_bound")
    hardware = found.resources.instance_type or ports.instance_type
    return replace(found, resources=replace(found.resources, instance_type=hardware))


def _mapping(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST:
        raise Rejected(f"deploy.yaml is larger than {_LARGEST} bytes; it holds settings only", code="bad_deploy_yaml")
    try:
        parsed = parse(text) or {}
    except BadYaml as error:
        raise Rejected(f"deploy.yaml doesn't parse: {error}; correct the YAML", code="bad_deploy_yaml") from error
    if not isinstance(parsed, dict):
        raise Rejected("deploy.yaml must be a mapping of settings, such as `steps: [5, 50]`", code="bad_deploy_yaml")
    return parsed
