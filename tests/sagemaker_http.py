"""SageMaker's runtime over HTTP, as strict as the real one: it strips headers and turns errors into its own.

A container is a function of (headers, body) that returns (status, headers, body); header names are lower case.
"""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

from chalicelib.adapters.sagemaker_invoke import SageMakerInvoker
from chalicelib.adapters.sagemaker_names import deployment_name

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
PASSED_IN = ("content-type", "accept", ATTRIBUTES)
PASSED_OUT = ("content-type", ATTRIBUTES)
LIMIT = 6_291_456


@dataclass
class ServiceError(Exception):
    """What SageMaker says itself."""

    status: int
    code: str
    message: str = ""
    more: dict = field(default_factory=dict)


class HangUp(Exception):
    """The connection ends without an answer."""


@dataclass
class Runtime:
    url: str
    containers: dict = field(default_factory=dict)  # by endpoint name
    seen: list = field(default_factory=list)  # (endpoint name, headers) of each call

    def answer(self, path, headers, body):
        name = path.removeprefix("/endpoints/").removesuffix("/invocations")
        self.seen.append((name, headers))
        container = self.containers.get(name)
        if container is None:
            raise ServiceError(400, "ValidationError", f"Endpoint {name} of account 123456789012 not found.")
        if len(body) > LIMIT or len(headers.get(ATTRIBUTES, "")) > 1024:
            raise ServiceError(400, "ValidationError", "1 validation error detected")
        status, said, answer = container({n: v for n, v in headers.items() if n in PASSED_IN}, body)
        if status != 200:
            message = f'Received client error ({status}) from primary with message "{answer.decode()}".'
            told = {"OriginalStatusCode": status, "OriginalMessage": answer.decode(), "LogStreamArn": "arn:aws:logs"}
            raise ServiceError(424, "ModelError", message, told)
        return {n.lower(): v for n, v in said.items() if n.lower() in PASSED_OUT}, answer


@contextmanager
def runtime():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            try:
                said, answer = told.answer(self.path, headers, body)
                self.reply(200, said, answer)
            except ServiceError as error:
                text = json.dumps({"Message": error.message, **error.more}).encode()
                self.reply(error.status, {"x-amzn-errortype": error.code, "content-type": "application/json"}, text)
            except (HangUp, BrokenPipeError):  # the latter: a caller that waited no longer
                self.close_connection = True

        def reply(self, status, headers, body):
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Runtime(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoint_of(deployment_id):
    return deployment_name("stack", deployment_id)


def client_of(url, config):
    return boto3.client("sagemaker-runtime", endpoint_url=url, config=config, **KEYS)


def invoker_of(url):
    return SageMakerInvoker(lambda config: client_of(url, config), endpoint_of)
