"""Signed uploads over the API: what they are for, and what is refused before a byte is sent."""

import hashlib
import json

import pytest
from moto import mock_aws

from chalicelib.adapters.s3 import S3Bucket, make_client
from chalicelib.adapters.s3_presign import S3Uploads
from chalicelib.domain.manifest import parse_manifest
from chalicelib.domain.signed_upload import ONE_PUT, ranges
from tests.api_caller import Caller, registered
from tests.fakes_pipeline import fake_ports

SHA = hashlib.sha256(b"x").hexdigest()
FILE = {"path": "model.mar", "size": 1, "sha256": SHA}


@pytest.fixture
def caller():
    with mock_aws():
        client = make_client(None, "access", "secret", "us-east-1")
        client.create_bucket(Bucket="drop")
        yield Caller(fake_ports(uploads=S3Uploads(S3Bucket(client, "drop"), client)), scopes="deploy")


def ask(caller, *files, version="2", model="digits"):
    return caller.post("/v1/uploads", {"model_id": model, "version_id": version, "files": list(files)})


def test_each_file_has_its_request_and_the_manifest_has_the_last(caller):
    answer = ask(caller, FILE, {"path": "variables/variables.index", "size": 0, "sha256": SHA})
    assert answer.status == 201
    [model, index] = answer.body["files"]
    assert [model["path"], index["path"]] == ["model.mar", "variables/variables.index"]
    [part] = model["parts"]
    assert (part["method"], part["offset"], part["length"], model["complete"]) == ("PUT", 0, 1, None)
    assert "/digits/2/model.mar?" in part["url"]
    last = answer.body["manifest"]
    assert "/digits/2/_manifest.json?" in last["url"]
    assert last["headers"]["content-length"] == str(len(last["body"]))
    assert [file.path for file in parse_manifest(last["body"].encode()).files] == [model["path"], index["path"]]


def test_a_large_file_comes_in_parts_that_are_put_together(caller):
    [file] = ask(caller, {**FILE, "size": ONE_PUT + 1}).body["files"]
    assert sum(part["length"] for part in file["parts"]) == ONE_PUT + 1
    assert file["complete"]["method"] == "POST"


@pytest.mark.parametrize("size", [0, 1, ONE_PUT, ONE_PUT + 1, 5 * 2**30, 5 * 2**40])
def test_the_parts_of_a_file_are_the_file(size):
    parts = list(ranges(size))
    assert sum(length for _, length in parts) == size
    assert [offset for offset, _ in parts] == [sum(length for _, length in parts[:at]) for at in range(len(parts))]
    assert len(parts) <= 1000
    assert all(length >= 64 * 2**20 for _, length in parts[:-1])


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ([], "bad_request", "at least 1"),
        ([{**FILE, "path": "../model.mar"}], "bad_upload", "no empty part"),
        ([{**FILE, "path": "/model.mar"}], "bad_upload", "no empty part"),
        ([{**FILE, "path": "a//b"}], "bad_upload", "no empty part"),
        ([{**FILE, "path": "x" * 300}], "bad_upload", "more than 255 bytes"),
        ([{**FILE, "path": "/".join(["x" * 200] * 6)}], "bad_upload", "more than 1024 bytes"),
        ([{**FILE, "path": "_manifest.json"}], "bad_upload", "written by the platform"),
        ([{**FILE, "path": "_report.json"}], "bad_upload", "written by the platform"),
        ([FILE, FILE], "bad_manifest", "listed twice"),
        ([FILE, {**FILE, "path": "model.mar/x"}], "bad_upload", "a file and a folder at once"),
        ([{**FILE, "sha256": "no"}], "bad_request", "sha256"),
        ([{**FILE, "size": -1}], "bad_request", "size"),
        ([{**FILE, "path": f"f{n}"} for n in range(1001)], "bad_upload", "more than 1000"),
        ([{**FILE, "path": f"f{n}", "size": 64 * 2**30} for n in range(9)], "bad_upload", "more than 2000"),
    ],
)
def test_what_could_never_be_a_version_is_refused_before_it_is_sent(caller, files, code, said):
    answer = ask(caller, *files)
    assert (answer.status, answer.error["code"]) == (400, code)
    assert said in answer.error["message"]


def test_a_registered_version_is_never_written_again(caller):
    registered(caller.ports, "digits/2")
    answer = ask(caller, FILE)
    assert (answer.status, answer.error["code"]) == (409, "conflict")


def test_illegal_ids_are_refused(caller):
    assert ask(caller, FILE, version="..").error["code"] == "illegal_name"


@pytest.mark.parametrize(
    ("scopes", "status"),
    [
        ("upload:digits", 201),
        ("upload:*", 201),
        ("deploy", 201),
        ("upload:faces", 403),
        ("upload:digit", 403),
        ("dark:digits predict:*", 403),
    ],
)
def test_a_key_uploads_the_models_that_it_is_for(caller, scopes, status):
    caller.scopes = scopes
    assert ask(caller, FILE).status == status


def test_a_key_for_uploads_looks_and_steers_nothing(caller):
    registered(caller.ports, "digits/1")
    caller.scopes = "upload:digits"
    assert caller.get("/v1/models/digits/versions/1").status == caller.get("/v1/rollouts").status == 200
    start = {"model_id": "digits", "version_id": "1"}
    assert caller.post("/v1/endpoints/digits/rollouts", start).status == 403
    assert caller.post("/v1/endpoints/digits/promote").status == 403
    assert caller.get("/v1/keys").status == caller.get("/v1/hooks").status == 403


def test_a_key_that_only_predicts_uploads_nothing(caller):
    caller.scopes = "predict:digits"
    assert ask(caller, FILE).status == 403


def test_a_platform_that_signs_nothing_says_so():
    answer = ask(Caller(fake_ports(), scopes="deploy"), FILE)
    assert (answer.status, json.dumps(answer.body).count("store's own credentials")) == (404, 1)
