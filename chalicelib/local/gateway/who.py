"""The gateway's own operation in the API's document: who would answer."""

from collections.abc import Mapping

from pydantic import BaseModel

from chalicelib.answers import Answer
from chalicelib.openapi import Operation


class Answerer(Answer):
    """Who would answer a prediction: as the split chooses now, with the digest that the replica says of itself."""

    endpoint: str
    model_id: str
    version_id: str
    deployment: str
    digest: str


WHO = Operation(
    "GET",
    "/v1/endpoints/{name}/predict",
    "who",
    "Say who would answer a prediction.",
    scope="predict",
    answer="Answerer",
    description="The split chooses as for a prediction, by `X-Modeldrop-Key` if there is one. Nothing is counted.",
)
WHO_ANSWERS: Mapping[str, type[BaseModel]] = {"Answerer": Answerer}
