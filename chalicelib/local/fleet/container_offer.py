"""What a platform offers by way of containers: asked once, at start, and only where its operator wants any."""

from dataclasses import dataclass

from chalicelib.domain.errors import Rejected
from chalicelib.local.fleet.container_engine import find_engine, prefix_of
from chalicelib.local.fleet.site import Containers
from chalicelib.local.options import UpOptions


@dataclass(frozen=True)
class Offer:
    """The containers that can be run, or why a drop's can't; `report` is for the start."""

    containers: Containers | None = None
    refusal: str = ""
    report: tuple[str, ...] = ()


def offered(options: UpOptions) -> Offer:
    """Return what is offered; raises Rejected when the whole fleet was to be containers and nothing runs them."""
    wants_serving = options.fleet == "container"
    if not (wants_serving or options.bounds.images):
        return Offer()
    try:
        engine = find_engine()
    except Rejected as why:
        if wants_serving:
            raise
        return Offer(refusal=str(why), report=(f"Versions that are containers are refused: {why}.",))
    images = {"tensorflow": options.tensorflow_image, "pytorch": options.pytorch_image} if wants_serving else {}
    return Offer(Containers(engine, prefix_of(options.home), options.bounds, images), report=engine.report)
