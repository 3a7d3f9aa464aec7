"""`container.yaml`: an artifact that is an image. The files beside it are its model, of whatever kind."""

from collections.abc import Collection

from chalicelib.domain.findings import ArtifactFormat, Finding, Severity
from chalicelib.domain.formats.container_yaml import FILE, BadContainer, Container, read_container
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.objects import Upload
from chalicelib.domain.yaml_limits import DEFAULTS

_PIN = "name it as NAME@sha256:DIGEST (`podman image inspect NAME` shows it)"


def recognises(paths: Collection[str]) -> bool:
    return FILE in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Judge container.yaml; whether its image is allowed is the operator's to say, in the bounds."""
    if limits.no_containers:
        fix = "upload a SavedModel, a model.mar, a score.py or a predictor.py instead"
        return Judgement((Finding("container_not_served", FILE, limits.no_containers, fix),))
    try:
        # A byte more than may be: then it is known to be too large.
        container = read_container(reader.read(FILE, 0, min(upload.paths[FILE].size, DEFAULTS.characters + 1)))
    except BadContainer as error:
        return Judgement(error.findings)
    return Judgement(_unpinned(container), details=_details(container))


def _unpinned(container: Container) -> tuple[Finding, ...]:
    if container.is_pinned:
        return ()
    message = f"{container.image} is a tag, which may come to mean another image; each start says which one it runs"
    return (Finding("unpinned_image", f"{FILE}: image", message, _PIN, Severity.WARNING),)


def _details(container: Container) -> dict[str, object]:
    return {
        "image": container.image,
        "contract": str(container.contract),
        "port": container.port,
        "routes": [container.health_route, container.predict_route],
    }


FORMAT = Format(ArtifactFormat.CONTAINER, FILE, recognises, judge)
