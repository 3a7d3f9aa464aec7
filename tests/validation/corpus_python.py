"""Models that are Python, files that are something else, and models of kinds that aren't served."""

from chalicelib.domain.limits import Limits
from tests.domain.uploads import mar
from tests.validation.corpus import Case, Files, bad, good, unfinished

SCORE = b"def load_model():\n    return 1\n\n\ndef predict(data, model=load_model()):\n    return data\n"
PREDICTOR = b"class P:\n    def load(self, uri): ...\n    def predict(self, body): return body['instances']\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
PAGE = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
RUNTIME = """\
MODEL_ARTIFACT_VERSION: '3.0'
MODEL_DEPLOYMENT:
  INFERENCE_CONDA_ENV:
    INFERENCE_ENV_SLUG: generalml_p312_cpu_v1
    INFERENCE_ENV_TYPE: data_science
    INFERENCE_ENV_PATH: oci://bucket@namespace/generalml_p312_cpu_v1
    INFERENCE_PYTHON_VERSION: '3.12'
"""


def scored(source: bytes = SCORE, runtime: str | None = RUNTIME, **more: bytes) -> Files:
    given = {} if runtime is None else {"runtime.yaml": runtime.encode()}
    return {"score.py": source, **given, **more}


def runtime_with(field: str, value: str) -> str:
    """Return the good runtime.yaml with one field of the environment set otherwise."""
    lines = (f"    {field}: {value}" if line.strip().startswith(field) else line for line in RUNTIME.splitlines())
    return "\n".join(lines) + "\n"


TYPE, PYTHON = "INFERENCE_ENV_TYPE", "INFERENCE_PYTHON_VERSION"


def contained(line: bytes) -> Files:
    """Return a container.yaml with one line more, or another one."""
    given = {b"image": b"image: x@sha256:" + b"0" * 64, b"contract": b"contract: vertex"}
    given[line.split(b":", 1)[0]] = line
    return {"container.yaml": b"\n".join(given.values())}


CASES: dict[str, Case] = {
    "a score.py with its environment": good(scored()),
    "a score.py whose functions are imported": good(
        scored(b"from model import load_model, predict\n", **{"model.py": SCORE})
    ),
    "a score.py that imports all": good(scored(b"from model import *\n", **{"model.py": SCORE})),
    "a score.py with a function under if": good(scored(b"if True:\n    def load_model(): ...\npredict = list\n")),
    "a score.py beside other models": good(scored(**{"a.onnx": b"x", "a.h5": b"x", "sub/saved_model.pb": b"x"})),
    "a score.py without load_model": bad(scored(b"def predict(data): ...\n"), "bad_score"),
    "a score.py without predict": bad(scored(b"def load_model(): ...\n"), "bad_score"),
    "a score.py that doesn't parse": bad(scored(b"def load_model(:\n"), "bad_score"),
    "a score.py whose model is required": bad(scored(SCORE.replace(b"=load_model()", b"")), "bad_score"),
    "a score.py whose model is a required keyword": bad(
        scored(SCORE.replace(b"model=load_model()", b"*, model")), "bad_score"
    ),
    "a score.py with another first argument": bad(scored(SCORE.replace(b"data", b"x")), "bad_score"),
    "a score.py that loads with an argument": bad(
        scored(b"def load_model(path): ...\ndef predict(data): ...\n"), "bad_score"
    ),
    "a score.py that awaits": bad(scored(SCORE.replace(b"def predict", b"async def predict")), "bad_score"),
    "a score.py that is too much to parse": bad(scored(SCORE + b"a\n" * 60_000), "bad_score"),
    "a score.py of endless elifs": bad(scored(SCORE + b"if a: ...\n" + b"elif a: ...\n" * 2_000), "bad_score"),
    "a score.py that is decoded in its own way": bad(scored(b"# coding: utf-7\n" + SCORE), "bad_score"),
    "a score.py in another encoding": good(scored("# coding: gbk\nx = '\u4f60'\n".encode("gbk") + SCORE)),
    "a score.py that isn't in its encoding": bad(scored(SCORE + b"x = '\xff'\n"), "bad_score"),
    "a score.py with NUL": bad(scored(SCORE + b"\0"), "bad_score"),
    "a score.py nested past the parser": bad(scored(b"(" * 10_000), "bad_score"),
    "a runtime.yaml for another Python": good(scored(runtime=runtime_with(PYTHON, "'3.8'")), "other_python"),
    "a runtime.yaml with a patch version": good(scored(runtime=runtime_with(PYTHON, "3.7.10")), "other_python"),
    "a runtime.yaml with an unquoted 3.10": bad(scored(runtime=runtime_with(PYTHON, "3.10")), "bad_runtime_yaml"),
    "a runtime.yaml with a number in quotes": good(scored(runtime=runtime_with(PYTHON, "'3.10'")), "other_python"),
    "a runtime.yaml for Python 3.5": bad(scored(runtime=runtime_with(PYTHON, "'3.5'")), "bad_runtime_yaml"),
    "a runtime.yaml for Python 3.14": bad(scored(runtime=runtime_with(PYTHON, "'3.14'")), "bad_runtime_yaml"),
    "a runtime.yaml for no Python": bad(scored(runtime=runtime_with(PYTHON, "[3, 8]")), "bad_runtime_yaml"),
    "a runtime.yaml without a Python": good(scored(runtime=runtime_with(PYTHON, "")), "no_environment"),
    "a runtime.yaml of another type": bad(scored(runtime=runtime_with(TYPE, "docker")), "bad_runtime_yaml"),
    "a runtime.yaml of the other type": good(scored(runtime=runtime_with(TYPE, "published"))),
    "a runtime.yaml that is a list": bad(scored(runtime="- 1\n"), "bad_runtime_yaml"),
    "a runtime.yaml with a tag": bad(scored(runtime="!!python/object:os.system {}\n"), "bad_runtime_yaml"),
    "a runtime.yaml with a repeated key": bad(scored(runtime=RUNTIME + RUNTIME), "bad_runtime_yaml"),
    "a runtime.yaml of two documents": bad(scored(runtime=RUNTIME + "---\n" + RUNTIME), "bad_runtime_yaml"),
    "a runtime.yaml whose deployment is a list": bad(scored(runtime="MODEL_DEPLOYMENT: [1]\n"), "bad_runtime_yaml"),
    "a runtime.yaml without an environment": bad(scored(runtime="MODEL_DEPLOYMENT: {a: 1}\n"), "bad_runtime_yaml"),
    "a runtime.yaml without a deployment": good(scored(runtime="MODEL_ARTIFACT_VERSION: '3.0'\n"), "no_environment"),
    "a runtime.yaml that is empty": bad(scored(runtime=""), "empty_file"),
    "a score.py alone": good(scored(runtime=None), "no_environment"),
    "a pickle beside a score.py": good(scored(**{"model.joblib": b"x"}), "pickle_beside"),
    "a pickle of no telling name beside a score.py": good(scored(weights=b"\x80\x04."), "pickle_beside"),
    "a predictor.py": good({"predictor.py": PREDICTOR}),
    "a predictor.py with all four methods and helpers": good(
        {
            "predictor.py": PREDICTOR
            + b"    def preprocess(self, x): return x\n    postprocess = preprocess\nclass Helper: ...\n"
        }
    ),
    "a pickle beside a predictor.py": good({"predictor.py": PREDICTOR, "model.pkl": b"x"}, "pickle_beside"),
    "a predictor.py without a class": bad({"predictor.py": b"def predict(x): ...\n"}, "bad_predictor"),
    "a predictor.py without load": bad({"predictor.py": b"class P:\n    def predict(self, x): ...\n"}, "bad_predictor"),
    "a predictor.py with two": bad({"predictor.py": PREDICTOR + PREDICTOR.replace(b"P:", b"Q:")}, "bad_predictor"),
    "a predictor.py that doesn't parse": bad({"predictor.py": b"class"}, "bad_predictor"),
    "a score.py and a predictor.py": bad({"score.py": SCORE, "predictor.py": PREDICTOR}, "two_artifacts"),
    "a score.py and an archive": bad({"score.py": SCORE, "model.mar": mar()}, "two_artifacts"),
    "a score.py one folder too deep": bad({"code/score.py": SCORE}, "wrong_depth"),
    "a predictor.py one folder too deep": bad({"code/predictor.py": PREDICTOR}, "wrong_depth"),
    "a container": good({"container.yaml": b"image: x@sha256:" + b"0" * 64 + b"\ncontract: vertex\n"}),
    "a container where none are run": bad(
        {"container.yaml": b"image: x\ncontract: oci\n"}, "container_not_served", limits=Limits(no_containers="no")
    ),
    "a container of a tag": good({"container.yaml": b"image: x\ncontract: oci\n"}, "unpinned_image"),
    "a container of no image's name": bad(contained(b"image: --privileged"), "bad_container"),
    "a container whose route is no path": bad(contained(b"health_route: health"), "bad_container"),
    "a container whose command is a shell's": bad(contained(b"command: serve --all"), "bad_container"),
    "a container whose argument has a zero byte": bad(contained(b'args: ["\\0"]'), "bad_container"),
    "a container without a contract": bad({"container.yaml": b"image: x\n"}, "bad_container"),
    "a container.yaml that is a list": bad({"container.yaml": b"- image\n"}, "bad_container"),
    "a container.yaml with a tag": bad({"container.yaml": b"image: !!python/name:os.system\n"}, "bad_container"),
    "a container beside an archive": bad({"container.yaml": b"image: x\n", "model.mar": mar()}, "two_artifacts"),
    "a pointer instead of an archive": bad({"model.mar": POINTER}, "lfs_pointer"),
    "a pointer instead of a SavedModel": bad({"saved_model.pb": POINTER}, "lfs_pointer"),
    "a pointer instead of a score.py": bad(scored(POINTER), "lfs_pointer"),
    "a pointer instead of a runtime.yaml": bad(scored(runtime=POINTER.decode()), "lfs_pointer"),
    "a page instead of an archive": bad({"model.mar": PAGE}, "error_page"),
    "a page after blanks": bad({"model.mar": b"\xef\xbb\xbf \r\n<!DOCTYPE html><title>503</title>"}, "error_page"),
    "a page instead of a predictor.py": bad({"predictor.py": b"<html></html>"}, "error_page"),
    "an empty score.py": bad(scored(b""), "empty_file"),
    "an archive that is a folder": bad({"model/MAR-INF/MANIFEST.json": b"{}", "model/h.py": b""}, "archive_form"),
    "an archive that is a tar": bad({"model.tar.gz": b"x"}, "archive_form"),
    "a checkpoint": bad({"checkpoint": b"x", "m.ckpt-1.index": b"x", "m.data-00000-of-00001": b"x"}, "loose_model"),
    "a loose model in a folder": bad({"weights/model.safetensors": b"x"}, "loose_model"),
    "a pickle alone": bad({"model.pkl": b"x"}, "loose_model"),
    "a loose model while the archive is still written": unfinished({"a.onnx": b"x", "model.mar.tmp": b"x"}),
    "what an exporter wrote first": unfinished({"fingerprint.pb": b"x", "variables/variables.index": b"x"}),
    "a marker alone": unfinished({"_SUCCESS": b""}),
}
