"""InvokeEndpoint of the fake, and what a container answers: see fakes_sagemaker."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes_sagemaker_hosting import CONFIG, MODEL, SERVING, Hosting
from tests.fakes_sagemaker_words import ACCOUNT, Refused

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_MOST_ATTRIBUTES = 1024
_MOST_BYTES = 6 * 2**20


@dataclass(frozen=True)
class Invocation:
    """What reaches a container: `model` is what CreateModel was asked for."""

    endpoint: str
    model: dict
    body: bytes
    content_type: str
    accept: str
    attributes: str

    @property
    def model_uri(self) -> str:
        return self.model["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]["S3Uri"]


@dataclass(frozen=True)
class Answer:
    body: bytes
    attributes: str = ""
    status: int = 200
    content_type: str = "application/json"


Container = Callable[[Invocation], Answer]


@dataclass(frozen=True)
class ServingImage:
    """Answers as our image does; `digest_of` tells the digest of the files under an s3:// URI."""

    digest_of: Callable[[str], str]

    def __call__(self, asked: Invocation) -> Answer:
        attributes = f"digest={self.digest_of(asked.model_uri)}"
        if "modeldrop-probe" in asked.attributes.split(";"):
            return Answer(b"", attributes)
        instances = json.loads(asked.body).get("instances", [])
        return Answer(json.dumps({"predictions": [0.0 for _ in instances]}).encode(), f"{attributes};nonfinite=0")


@dataclass(frozen=True)
class Runtime:
    hosting: Hosting
    owner: object  # whose `container` answers: it may be changed at any time

    def invoke(self, name: str, headers, body: bytes) -> tuple[int, dict[str, str], bytes]:
        model = self._model(name)
        attributes = _text(headers.get(ATTRIBUTES, ""))
        if len(attributes) > _MOST_ATTRIBUTES or not attributes.isascii():
            raise _invalid(f"CustomAttributes must be at most {_MOST_ATTRIBUTES} ASCII characters")
        if len(body) > _MOST_BYTES:
            raise _invalid(f"Body must be at most {_MOST_BYTES} bytes")
        types = _text(headers.get("Content-Type", "")), _text(headers.get("Accept", ""))
        answer = self.owner.container(Invocation(name, model, body, *types, attributes))
        if answer.status >= 400:
            raise self._model_error(name, answer)
        said = {ATTRIBUTES: answer.attributes} if answer.attributes else {}
        return (
            200,
            {"Content-Type": answer.content_type, "x-Amzn-Invoked-Production-Variant": "main", **said},
            answer.body,
        )

    def _model(self, name: str) -> dict:
        """Return the model behind an endpoint that serves."""
        found = next((e for e in self.hosting.endpoints() if e.name.lower() == name.lower()), None)
        if not found or found.status not in SERVING:
            raise _invalid(f"Endpoint {name} of account {ACCOUNT} not found.")
        config = self.hosting.find(CONFIG, found.config)
        return self.hosting.find(MODEL, config.asked["ProductionVariants"][0]["ModelName"]).asked

    def _model_error(self, name: str, answer: Answer) -> Refused:
        group = f"/aws/sagemaker/Endpoints/{name}"
        side = "server" if answer.status >= 500 else "client"
        said = answer.body.decode(errors="replace")
        return Refused(
            "ModelError",
            f'Received {side} error ({answer.status}) from primary with message "{said}". See '
            f"https://{self.hosting.region}.console.aws.amazon.com/cloudwatch/home#logEventViewer:group={group} "
            f"in account {ACCOUNT} for more information.",
            424,
            OriginalStatusCode=answer.status,
            OriginalMessage=said,
            LogStreamArn=f"arn:aws:logs:{self.hosting.region}:{ACCOUNT}:log-group:{group}",
        )


def _invalid(message: str) -> Refused:
    return Refused("ValidationError", message)


def _text(header) -> str:
    return header.decode() if isinstance(header, bytes) else header
