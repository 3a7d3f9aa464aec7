"""The texts of an archive (manifest, handler, configuration, requirements) are judged by what TorchServe would read."""

import subprocess
import sys

import pytest

from chalicelib.domain.findings import Severity, Verdict
from tests.conftest import _archive
from tests.domain.uploads import HANDLER, codes, folder, judged, manifest, mar, zipped

MANIFEST = "MAR-INF/MANIFEST.json"


def judged_mar(**how):
    return judged({"model.mar": mar(**how)})


def test_the_archivers_tar_is_rejected_with_the_flag_that_is_right(tmp_path):
    (tmp_path / "h.py").write_bytes(HANDLER)
    _archive(tmp_path, "out", "--handler", "h.py", "--archive-format", "tgz")
    (body,) = folder(tmp_path / "out").values()
    report = judged({"model.mar": body})
    assert codes(report) == ["archive_form"]
    assert "--archive-format default" in report.findings[0].fix


def test_the_archivers_plain_folder_is_rejected_with_the_flag_that_is_right(tmp_path):
    (tmp_path / "h.py").write_bytes(HANDLER)
    _archive(tmp_path, "out", "--handler", "h.py", "--archive-format", "no-archive")
    report = judged(folder(tmp_path / "out"))
    assert report.verdict is not Verdict.ACCEPT
    assert any("--archive-format default" in f.fix for f in report.findings)


@pytest.mark.parametrize("field", ["createdOn", "runtime", "archiverVersion"])
def test_a_field_of_another_type_is_named(field):
    text = manifest()[:-1] + f', "{field}": [1]}}'.encode()
    report = judged({"model.mar": zipped({"h.py": HANDLER, MANIFEST: text})})
    assert [(f.code, f.where) for f in report.findings] == [("bad_manifest", f"model.mar: {MANIFEST}: {field}")]


@pytest.mark.parametrize("name", ["mar-inf/manifest.json", "x/MAR-INF/MANIFEST.json", "MANIFEST.json"])
def test_the_manifest_has_exactly_its_name(name):
    assert codes(judged({"model.mar": zipped({"h.py": HANDLER, name: manifest()})})) == ["no_manifest"]


@pytest.mark.parametrize("extra", ["a.txt,b.txt", ["a.txt", "b.txt"]])
def test_every_extra_file_that_is_named_is_there(extra):
    report = judged_mar(extra={"a.txt": b"a"}, extraFiles=extra)
    assert [(f.code, "b.txt" in f.message) for f in report.findings] == [("missing_file", True)]
    assert judged_mar(extra={"a.txt": b"a", "b.txt": b"b"}, extraFiles=extra).findings == ()


@pytest.mark.parametrize(
    "text",
    [
        b"a: 1\na: 2",
        b"- 1",
        b"a: !!python/object/apply:os.system [id]",
        b"a: &x [*x]",
        b"a: [",
        b"\xff",
        b"a: 2026-99-99",
    ],
)
def test_a_configuration_that_isnt_one_safe_mapping_is_rejected(text):
    assert codes(judged_mar(extra={"c.yaml": text}, configFile="c.yaml")) == ["bad_model_config"]


@pytest.mark.parametrize("text", [b"", b"minWorkers: 1\nmaxWorkers: 4\nhandler:\n  top_k: 5\n", b"# nothing\n"])
def test_a_configuration_that_torchserve_reads_is_accepted(text):
    assert judged_mar(extra={"c.yaml": text}, configFile="c.yaml").findings == ()


REQUIREMENTS = """\
# what we need
numpy
torch==2.15.0
transformers[torch,sentencepiece] >= 4.40, < 5  # newer ones fail
pillow~=10.0 ; python_version >= "3.11"
my.pkg_name!=1.0,>=0.9
mine @ https://example.org/mine-1.0-py3-none-any.whl
local/wheels/mine-1.0-py3-none-any.whl
git+https://example.org/mine.git@v1#egg=mine
numpy==2.4.6 \\
    --hash=sha256:aaaa
(
"""


def test_the_lines_that_pip_reads_are_requirements_and_any_other_isnt():
    report = judged_mar(extra={"r.txt": REQUIREMENTS.encode()}, requirementsFile="r.txt")
    assert [(f.code, f.message) for f in report.findings] == [("bad_requirements", "'(' names no package")]


@pytest.mark.parametrize("line", ["-r other.txt", "--index-url https://example.org", "-e .", "--find-links=x"])
def test_an_option_that_points_elsewhere_is_a_warning(line):
    report = judged_mar(extra={"r.txt": line.encode()}, requirementsFile="r.txt")
    assert report.verdict is Verdict.ACCEPT
    assert [(f.code, f.severity) for f in report.findings] == [("bad_requirements", Severity.WARNING)]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"numpy >> 1", b"<html>", b"numpy==", b"a b"])
def test_requirements_that_pip_wouldnt_read_are_rejected(text):
    assert codes(judged_mar(extra={"r.txt": text}, requirementsFile="r.txt")) == ["bad_requirements"]


def test_a_text_is_judged_though_the_manifest_is_wrong_elsewhere():
    report = judged_mar(extra={"c.yaml": b"- 1"}, configFile="c.yaml", modelName="x", serializedFile="none.pt")
    assert set(codes(report)) == {"archive_name", "missing_file", "bad_model_config"}


def test_a_warning_doesnt_keep_the_bytes_from_being_judged():
    report = judged_mar(extra={"r.txt": b"-e .", "w.bin": b"cos\nsystem\n."}, requirementsFile="r.txt")
    assert codes(report) == ["bad_requirements", "forbidden_global"]


def test_judging_loads_no_framework():
    code = "import chalicelib.domain.formats, sys; print({'torch', 'tensorflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
