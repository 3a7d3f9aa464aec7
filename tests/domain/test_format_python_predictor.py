"""score.py and predictor.py: what is wrong is said with its line, and what runtime.yaml asks for is recorded."""

from dataclasses import replace

import pytest

from chalicelib.domain.findings import ArtifactFormat, Severity, Verdict
from chalicelib.domain.formats import DEFAULTS
from chalicelib.domain.formats.python_source import BadSource, read_module
from chalicelib.domain.formats.runtime_yaml import read_runtime
from tests.domain.uploads import codes, judged
from tests.validation.corpus_python import PREDICTOR, PYTHON, RUNTIME, SCORE, runtime_with, scored


def messages(files):
    return " | ".join(f"{f.where}: {f.message}" for f in judged(files).findings)


def test_an_accepted_score_file_records_what_it_is_and_the_environment_it_asks_for():
    report = judged(scored())
    assert (report.verdict, report.format) == (Verdict.ACCEPT, ArtifactFormat.PYTHON_PREDICTOR)
    assert report.details["handler"] == "score.py"
    assert report.details["environment"]["INFERENCE_ENV_SLUG"] == "generalml_p312_cpu_v1"
    assert judged({"predictor.py": PREDICTOR}).details == {"handler": "predictor.py", "class": "P"}


def test_every_fault_of_a_score_file_is_told_with_its_line():
    said = messages(scored(b"\ndef load_model(path): ...\nasync def predict(x, model): ...\n", "- 1"))
    assert "score.py: line 2: load_model is called with nothing; without a default are also: path" in said
    assert "score.py: line 3: predict must be a plain function, not async" in said
    assert "score.py: line 3: predict is called with data; without a default are also: x, model" in said
    assert "score.py: line 3: predict's first argument must be data" in said
    assert "runtime.yaml: it must be a mapping, not [1]" in said


def test_the_last_binding_of_a_name_is_what_is_called():
    assert judged(scored(b"def load_model(x): ...\n" + SCORE)).verdict is Verdict.ACCEPT
    assert codes(judged(scored(SCORE + b"def predict(): ...\n"))) == ["bad_score"]
    assert judged(scored(SCORE + b"predict = other(predict)\n")).verdict is Verdict.ACCEPT


def test_the_predictors_that_were_found_are_named():
    assert "2 do; its classes: P, Q" in messages({"predictor.py": PREDICTOR + PREDICTOR.replace(b"P:", b"Q:")})


def test_an_unquoted_python_3_10_is_explained():
    assert "YAML reads 3.10 as the number 3.1: write '3.10'" in messages(scored(runtime=runtime_with(PYTHON, "3.10")))


@pytest.mark.parametrize("minor", range(6, 14))
def test_the_images_own_python_is_no_warning_and_any_other_is(minor):
    files = scored(runtime=runtime_with(PYTHON, f"'3.{minor}'"))
    for image in ("3.11", "3.12"):
        expected = [] if image == f"3.{minor}" else ["other_python"]
        assert codes(judged(files, replace(DEFAULTS, python=image))) == expected


def test_what_runtime_yaml_says_is_never_shown_whole():
    runtime = read_runtime(runtime_with("INFERENCE_ENV_TYPE", "x" * 5000).encode(), python="3.12")
    assert all(len(f.message) < 250 for f in runtime.findings)
    assert all(len(value) <= 100 for value in runtime.environment.values())
    assert read_runtime(RUNTIME.encode(), python="3.12").findings == ()


def test_a_runtime_yaml_past_the_limit_is_refused():
    assert codes(judged(scored(runtime=RUNTIME + "# " + "x" * 70_000))) == ["bad_runtime_yaml"]


def test_source_past_the_limit_is_refused():
    assert codes(judged(scored(), replace(DEFAULTS, source=10))) == ["bad_score"]


def test_a_source_that_python_reads_is_read_in_its_own_encoding():
    text = "# -*- coding: latin-1 -*-\nname = 'caf\xe9'\n"
    assert read_module(text.encode("latin-1")).binds == {"name"}
    assert read_module(b"\xef\xbb\xbfname = 1\r\nother = 2\r").binds == {"name", "other"}
    with pytest.raises(BadSource, match="save it as UTF-8"):
        read_module(b"# coding: punycode\n")


def test_a_pickle_is_a_warning_that_says_what_to_save_instead():
    (finding,) = judged(scored(**{"m.joblib": b"x"})).findings
    assert (finding.severity, finding.where) == (Severity.WARNING, "m.joblib")
    assert ".safetensors" in finding.fix
