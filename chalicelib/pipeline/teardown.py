"""End everything that was started: for a stack that is deleted. Records and sealed bytes stay."""

from chalicelib.pipeline.ports import Ports


def stop_all(ports: Ports) -> list[str]:
    """Ask every deployment to stop, and return those that aren't gone yet: ask again until there is none."""
    for deployment_id in ports.fleet.deployments():
        ports.fleet.stop(deployment_id)
    return list(ports.fleet.deployments())
