"""What an operator allows of the images that drops name, as `deploy` holds what their deploy.yaml wishes."""

from fnmatch import fnmatchcase

from chalicelib.domain.deploy import Bounds, past_name
from chalicelib.domain.errors import Rejected
from chalicelib.domain.formats.container_yaml import FILE, Container


def hold(container: Container, bounds: Bounds) -> None:
    """Hold an image and its environment within what the operator allows; raises Rejected."""
    past = [said for said in (past_name(name, bounds) for name in container.environment) if said]
    if not any(fnmatchcase(container.image, pattern) for pattern in bounds.images):
        allowed = ", ".join(bounds.images) or "none"
        past.append(
            f"image {container.image} is not among those that the operator allows ({allowed}); ask for it to be added "
            "to `images` in the bounds"
        )
    if past:
        raise Rejected(f"{FILE}: {'; '.join(past)}", code="past_bound")
