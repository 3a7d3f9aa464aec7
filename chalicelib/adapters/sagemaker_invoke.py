"""Predictions through SageMaker: one attempt, bounded patience, and what its errors say about a deployment.

Of a container's answer the content type and the custom attributes come back with the body; an error of its own comes
as a ModelError with the original status and body, where status 0 means that it didn't answer at all.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, ReadTimeoutError
from botocore.exceptions import ConnectionError as Unreachable

from chalicelib.domain import custom_attributes
from chalicelib.domain.invocation import BUDGET, BYTES, Busy, Call, NoAnswer, Reply, TimedOut
from chalicelib.domain.predict_body import JSON

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

CONNECT_TIMEOUT = 2.0  # seconds
# A client's patience is fixed when it is made, so there may be one for each of these: a stand-in gets what is left.
PATIENCE = (BUDGET, 24.0, 20.0, 15.0, 10.0, 5.0, 2.0, 1.0)
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_THROTTLED = {"ThrottlingException", "ThrottledException", "TooManyRequestsException"}
# SageMaker's own words for an endpoint that isn't there or gives nothing.
_NO_ANSWER = {
    "ValidationError", "ModelNotReadyException", "ServiceUnavailable", "InternalFailure", "InternalDependencyException",
}  # fmt: skip


def config(seconds: float) -> Config:
    """Return one attempt with that much patience: stable is the second one, not botocore."""
    return Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=seconds, retries={"total_max_attempts": 1})


def patience_within(seconds: float) -> float:
    """Return the longest patience that isn't above what is left, at least the shortest there is."""
    return next((patience for patience in PATIENCE if patience <= seconds), PATIENCE[-1])


class SageMakerInvoker:
    """Invokes deployments by their endpoints' names. A client is made when its patience is first needed."""

    def __init__(self, client: "Callable[[Config], SageMakerRuntimeClient]", name_of: Callable[[str], str]) -> None:
        self._make = client
        self._name_of = name_of
        self._clients: dict[float, SageMakerRuntimeClient] = {}

    def invoke(self, deployment_id: str, call: Call, seconds: float) -> Reply:
        """Return the container's answer, its errors included; raises NoAnswer, TimedOut or Busy."""
        patience = patience_within(seconds)
        try:
            answer = self._client(patience).invoke_endpoint(**self._asked(deployment_id, call))
            body = answer["Body"].read()
        except ClientError as error:
            return _judged(deployment_id, error)
        except Unreachable as error:
            raise Busy(f"SageMaker can't be reached: {error}; try again") from error
        except ReadTimeoutError as error:
            raise TimedOut(f"deployment {deployment_id} did not answer within {patience:g} s") from error
        except (HTTPClientError, IncompleteReadError) as error:
            raise _unanswered(deployment_id, str(error)) from error
        attributes = custom_attributes.parse(answer.get("CustomAttributes", ""))
        return Reply(HTTPStatus.OK, body, answer.get("ContentType", BYTES), attributes)

    def _client(self, patience: float) -> "SageMakerRuntimeClient":
        if patience not in self._clients:
            self._clients[patience] = self._make(config(patience))
        return self._clients[patience]

    def _asked(self, deployment_id: str, call: Call) -> dict[str, Any]:
        said = {"ContentType": call.content_type, "Accept": call.accept}
        return {
            "EndpointName": self._name_of(deployment_id),
            "Body": call.body,
            "CustomAttributes": custom_attributes.format(call.attributes),
            **{name: value for name, value in said.items() if value},
        }


def _judged(deployment_id: str, error: ClientError) -> Reply:
    """Return the model's own error; raises what any other says, and errors that are ours to mend as they are."""
    told: Any = error.response
    code = told["Error"]["Code"]
    if code == "ModelError" and told.get("OriginalStatusCode"):
        body = str(told.get("OriginalMessage", "")).encode()
        said = told["ResponseMetadata"]["HTTPHeaders"].get(_ATTRIBUTES, "")
        return Reply(told["OriginalStatusCode"], body, _type_of(body), custom_attributes.parse(said))
    if code == "ModelError" or code in _NO_ANSWER:
        raise _unanswered(deployment_id, f"SageMaker says {code}") from error  # its message names the account
    if code in _THROTTLED:
        raise Busy("SageMaker takes no more requests for now; try again, or have its quota raised") from error
    raise error


def _type_of(body: bytes) -> str:
    """Return the type of an error's body, which isn't told: errors are JSON or text."""
    return JSON if body.lstrip().startswith((b"{", b"[")) else "text/plain; charset=utf-8"


def _unanswered(deployment_id: str, why: str) -> NoAnswer:
    return NoAnswer(f"deployment {deployment_id} gave no answer: {why}; try again")
