"""A version uploaded to a deployed stack with an API key alone, by requests that the API's function signs."""

import hashlib
from urllib.parse import parse_qs, urlsplit

import requests

from tests.aws.aws_world import api_key, versions
from tests.aws.rest_gateway import RestGateway
from tests.fakes_artifacts import small_mar

ARCHIVE = small_mar()


def test_what_a_job_sends_by_signed_requests_is_registered(world):
    stack = world.stack()
    file = {"path": "model.mar", "size": len(ARCHIVE), "sha256": hashlib.sha256(ARCHIVE).hexdigest()}
    asked = {"model_id": "digits", "version_id": "1", "files": [file]}
    answer = RestGateway(stack).call("POST", "/v1/uploads", asked, key=api_key(stack, "deploy"))
    assert answer.status == 201
    [part] = answer.json["files"][0]["parts"]
    last = answer.json["manifest"]
    for request, body in ((part, ARCHIVE), (last, last["body"].encode())):
        assert requests.put(request["url"], body, headers=request["headers"], timeout=10).status_code == 200
    stack.run(lambda: "digits/1" in versions(stack))


def test_a_request_is_signed_for_the_regions_own_address_and_by_the_version_that_signs_headers(world):
    stack = world.stack()
    file = {"path": "model.mar", "size": 1, "sha256": "0" * 64}
    asked = {"model_id": "digits", "version_id": "1", "files": [file]}
    answer = RestGateway(stack).call("POST", "/v1/uploads", asked, key=api_key(stack, "deploy"))
    url = urlsplit(answer.json["files"][0]["parts"][0]["url"])
    told = parse_qs(url.query)
    assert (url.scheme, url.hostname.partition(".")[0], url.path) == ("https", stack.drop, "/digits/1/model.mar")
    assert told["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert told["X-Amz-SignedHeaders"] == ["content-length;host;x-amz-checksum-sha256"]
