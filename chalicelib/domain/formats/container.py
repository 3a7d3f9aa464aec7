"""`container.yaml`: an artifact that is an image. Known, so that it is refused for its reason and not as nothing."""

from collections.abc import Collection

from chalicelib.domain.findings import ArtifactFormat, Finding
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.objects import Upload

ARTIFACT = "container.yaml"


def recognises(paths: Collection[str]) -> bool:
    return ARTIFACT in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Reject it: nothing here runs images of an uploader yet."""
    del upload, reader, limits
    message = "containers are not served yet"
    fix = "upload a SavedModel, a model.mar, a score.py or a predictor.py instead"
    return Judgement((Finding("container_not_served", ARTIFACT, message, fix),))


FORMAT = Format(ArtifactFormat.CONTAINER, ARTIFACT, recognises, judge)
