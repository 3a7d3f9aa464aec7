"""Python models through the whole platform: dropped, rolled out and answering apps, both by their own contracts."""

import pytest

from tests.platform_world import platform

pytestmark = pytest.mark.alone

PACE = ("--step-time", "0.5", "--min-requests", "10", "--quiet-period", "0.5")
SCORE = b"""
import os

def load_model():
    with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "factor.txt")) as file:
        return float(file.read())

def predict(data, model=load_model()):
    return {"prediction": [model * x for x in data]}
"""
PREDICTOR = b"""
class Doubling:
    def load(self, artifacts_uri): self.factor = 2
    def predict(self, document): return [self.factor * x for x in document["instances"]]
"""


def test_a_score_file_and_a_predictor_class_serve_like_any_other_model(tmp_path):
    with platform(tmp_path / "home", *PACE, store="embedded") as running:
        running.drop("oci/v1/", {"score.py": SCORE, "factor.txt": b"3"})
        running.drop("vertex/v1/", {"predictor.py": PREDICTOR})
        for name, expected in (("oci", [3.0, 6.0]), ("vertex", [2, 4])):
            running.await_phase(name, "v1", "promoted")
            with running.client(running.key(f"predict:{name}")["key"]) as app:
                answer = app.post(f"/v1/endpoints/{name}/predict", json={"instances": [1, 2]})
            assert (answer.status_code, answer.json()["predictions"]) == (200, expected)
        version = running.get("/v1/models/oci/versions/v1")
        assert (version["format"], version["status"]) == ("python_predictor", "registered")
        assert [f["code"] for f in version["findings"]] == ["no_environment"]
        assert version["digest"].startswith("sha256:")
