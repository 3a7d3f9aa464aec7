"""TorchServe's handlers for pictures and texts, its own code on real models: what they answer and what warms them."""

import json
import subprocess
import sys

import pytest

from tests.serving_world import PROGRAM

pytestmark = pytest.mark.slow

# One class of pixels each; the detector finds a box of the whole picture, and one that it is less sure of.
BUILD = """
import sys, torch
from typing import Dict, List

class Segments(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> Dict[str, torch.Tensor]:
        return {"out": torch.cat([x[:, :1], x[:, 1:2] + 9, x[:, 2:]], dim=1)}

class Boxes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> List[Dict[str, torch.Tensor]]:
        found: List[Dict[str, torch.Tensor]] = []
        for picture in x:
            high, wide = picture.shape[1], picture.shape[2]
            found.append({
                "boxes": torch.tensor([[0, 0, wide, high], [1, 1, 2, 2]], dtype=torch.float32),
                "labels": torch.tensor([1, 2]),
                "scores": torch.tensor([0.75, 0.25]),
            })
        return found

for name, model in (("segments", Segments()), ("boxes", Boxes())):
    torch.jit.script(model).save(f"{sys.argv[1]}/{name}.pt")

sys.path.insert(0, sys.argv[1])
from mood import Mood
torch.save(Mood().state_dict(), f"{sys.argv[1]}/mood.pt")
torch.save({"good": 0, "day": 1, "good day": 2}, f"{sys.argv[1]}/source_vocab.pt")
"""
MOOD = """
import torch

class Mood(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag.from_pretrained(torch.tensor([[0.0, 9.0], [0.0, 9.0], [0.0, 9.0]]))

    def forward(self, text, offsets):
        return self.embedding(text, offsets)
"""
ASK = """
import base64, io, json, os, sys
from pathlib import Path
from PIL import Image
from modelserver import formats
from modelserver.contracts import native
from modelserver.messages import Request
from modelserver.settings import Settings
from modelserver.warmup import warm_up

out = io.BytesIO()
Image.new("RGB", (6, 4), (255, 0, 0)).save(out, "PNG")
answers = {}
for folder in map(Path, sys.argv[1:]):
    settings = Settings(model_dir=folder, device="cpu")
    scratch = folder / "scratch"
    scratch.mkdir()
    model = formats.load(settings, scratch)
    warmed = warm_up(model, settings)
    kind, body = ("text/plain", b"Good day!") if "text" in folder.name else ("image/png", out.getvalue())
    call = native.parse(model, Request("POST", "/", {"content-type": kind}, body))
    (prediction,) = model.predict([call.rows])
    answers[folder.name] = [warmed, json.loads(call.encode(prediction).encoded.body)]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(build_archive, tmp_path_factory):
    """Ask all in one process, for Torch, torchvision and captum take seconds to import."""
    home = tmp_path_factory.mktemp("pictures")
    (home / "build.py").write_text(BUILD)
    (home / "mood.py").write_text(MOOD)
    subprocess.run([sys.executable, "-W", "ignore", home / "build.py", home], check=True)
    (home / "index_to_name.json").write_text('{"0": "sad", "1": "cat", "2": "dog"}')
    names = ("--extra-files", str(home / "index_to_name.json"))
    folders = [
        build_archive(home / handler, "--handler", handler, "--serialized-file", str(home / weights), *names)
        for handler, weights in (("image_segmenter", "segments.pt"), ("object_detector", "boxes.pt"))
    ]
    text = ("--handler", "text_classifier", "--model-file", str(home / "mood.py"))
    weights, vocabulary = str(home / "mood.pt"), f"{home / 'index_to_name.json'},{home / 'source_vocab.pt'}"
    more = ("--serialized-file", weights, "--extra-files", vocabulary)
    folders.append(build_archive(home / "text_classifier", *text, *more))
    environment = {"PYTHONPATH": str(PROGRAM), "OMP_NUM_THREADS": "1", "HOME": str(home), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *folders], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_segmenter_says_the_class_of_each_pixel_and_how_sure_it_is(answers):
    warmed, pixels = answers["image_segmenter"]
    assert warmed == "one small picture"
    assert (len(pixels), len(pixels[0])) == (224, 224)
    assert pixels[100][100] == [1.0, pytest.approx(1, abs=0.01)]


def test_a_detector_names_the_boxes_that_it_is_sure_of(answers):
    warmed, boxes = answers["object_detector"]
    assert warmed == "one small picture"
    assert boxes == [{"cat": [0.0, 0.0, 6.0, 4.0], "score": 0.75}]


def test_a_text_is_classified_by_the_vocabulary_in_the_archive(answers):
    warmed, scores = answers["text_classifier"]
    assert warmed == "no sample request"
    assert scores == {"sad": pytest.approx(0, abs=0.01), "cat": pytest.approx(1, abs=0.01)}
