"""An archive of many parts: the digest over parts that sealing computes is the one that the replica proves."""

import io
import os
import zipfile

import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import aws, platform

pytestmark = pytest.mark.alone

SIZE = 200 * 2**20


def test_an_archive_larger_than_a_part_is_uploaded_sealed_and_served_with_one_digest(tmp_path):
    body = io.BytesIO(small_mar())
    with zipfile.ZipFile(body, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("weights.bin", os.urandom(SIZE))
    (tmp_path / "model.mar").write_bytes(body.getvalue())
    with platform(tmp_path / "home", "--quiet-period", "1") as running:
        done = aws(running, "s3", "cp", str(tmp_path / "model.mar"), "s3://drop/big/v1/model.mar")
        assert done.returncode == 0, done.stderr
        running.await_phase("big", "v1", "promoted")
        version = running.get("/v1/models/big/versions/v1")
        (sealed,) = version["files"]
        assert sealed["digest"].endswith("-4")
        with running.client() as client:
            answer = client.post("/v1/endpoints/big/predict", json={"instances": [1]})
        assert answer.headers["x-modeldrop-digest"] == version["digest"]
