"""What lies in a drop instead of what must be there: named as what it is, with the command that helps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.findings import Severity, Verdict
from chalicelib.domain.formats import judge_upload
from chalicelib.domain.impostors import HEAD, impostor
from chalicelib.domain.layout import layout_findings
from chalicelib.domain.loose import loose_findings
from tests.domain.uploads import Memory, codes, folder, judged, mar, upload_of

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 400\n"
SCORE = b"def load_model(): ...\ndef predict(data): ...\n"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("model.keras", "keras.models.load_model('model.keras').export('DIR')"),
        ("weights.h5", "keras.models.load_model('weights.h5').export('DIR')"),
        ("frozen.pb", "tf.saved_model.save(module, 'DIR')"),
        ("saved_model.pbtxt", "tf.saved_model.save(model, 'DIR')"),
        ("checkpoint", "model.export('DIR')"),
        ("model.ckpt-100.index", "model.export('DIR')"),
        ("net.pt", "torch-model-archiver --model-name model --version 1 --serialized-file net.pt --handler HANDLER.py"),
        ("NET.PTH", "--serialized-file NET.PTH"),
        ("net.onnx", "--handler HANDLER.py --extra-files net.onnx"),
        ("net.safetensors", "--handler HANDLER.py --extra-files net.safetensors"),
        ("digits.mar", "--model-name model"),
        ("model.tar.gz", "--archive-format default"),
        ("model.pkl", "score.py"),
    ],
)
def test_a_model_that_is_not_served_as_it_is_gets_the_command_that_makes_an_artifact_of_it(name, command):
    report = judged({name: b"x", "README.md": b""})
    assert report.verdict is Verdict.REJECT
    assert command in report.findings[0].fix


def test_every_loose_model_is_told_not_only_the_first():
    assert codes(judged({"a.onnx": b"x", "b/c.pt": b"x", "d.h5": b"x"})) == ["loose_model"] * 3


def test_beside_an_artifact_other_models_are_its_data(saved_models):
    others = {"a.onnx": b"x", "b.keras": b"x", "c.safetensors": b"x"}
    assert judged({"model.mar": mar(), **others}).findings == ()
    assert judged(folder(saved_models / "keras") | others).findings == ()
    beside = judged({"score.py": SCORE, "w.pt": b"x", **others})
    assert {f.code: f.severity for f in beside.findings} == dict.fromkeys(
        ("no_environment", "pickle_beside"), Severity.WARNING
    )


@pytest.mark.parametrize(
    "path", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_pointer_is_found_wherever_an_export_has_one(saved_models, path):
    report = judged(folder(saved_models / "keras") | {path: POINTER})
    assert ("lfs_pointer", path) in [(f.code, f.where) for f in report.findings]
    assert report.verdict is Verdict.REJECT


def test_an_asset_and_other_data_may_be_pages(saved_models):
    page = b"<html></html>"
    assert judged(folder(saved_models / "vocabulary") | {"assets/words.txt": page}).verdict is Verdict.ACCEPT
    assert judged({"score.py": SCORE, "page.html": page}).verdict is Verdict.ACCEPT


def test_a_page_is_shown_cut():
    finding = impostor("model.mar", 5000, b"<html>" + b"secret " * 100)
    assert len(finding.message) < 150


def test_telling_what_a_file_is_reads_its_beginning_only():
    class Counting(Memory):
        asked = 0

        def read(self, path, start, length):
            Counting.asked += length
            return super().read(path, start, length)

    page = b"<html>" + b"x" * 2**20
    files = {"model.mar": page, **{f"data/{n}": b"x" * 100 for n in range(900)}}
    report = judge_upload(upload_of(files), Counting(files))
    assert codes(report) == ["error_page"]
    assert Counting.asked <= HEAD


def test_a_local_name_that_is_no_text_is_told_and_can_be_printed():
    (finding,) = layout_findings(["caf\udce9.txt"], limit=10)
    assert finding.code == "illegal_path"
    finding.where.encode()


@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_names_are_judged_without_an_error(paths):
    for finding in (*layout_findings(paths, limit=5), *loose_findings(paths)):
        assert all((finding.code, finding.message, finding.fix))
