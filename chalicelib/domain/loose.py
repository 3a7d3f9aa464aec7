"""Models of kinds that aren't served as they are, told by their names, with the command that makes them artifacts."""

import re
from collections.abc import Collection

from chalicelib.domain.findings import Finding

_DATA = ("assets/", "assets.extra/", "variables/")  # a SavedModel's own folders: what lies there is on its way
_BESIDE = ("fingerprint.pb", "keras_metadata.pb")  # an exporter writes them beside saved_model.pb
_ARCHIVED = "torch-model-archiver --model-name model --version 1 --serialized-file {file} --handler HANDLER.py"
_HANDLED = "torch-model-archiver --model-name model --version 1 --handler HANDLER.py --extra-files {file}"
_DEFAULT = "torch-model-archiver --model-name model --version 1 --handler HANDLER.py --archive-format default"
_KERAS = "python -c \"import keras; keras.models.load_model('{file}').export('DIR')\" and upload what is in DIR"
_FROZEN = (
    "wrap it with tf.compat.v1.wrap_function, prune it to its inputs and outputs, tf.saved_model.save(module, 'DIR')"
)
_CHECKPOINT = "restore it into its model and call model.export('DIR'), or tf.saved_model.save(model, 'DIR')"
_SCORED = "put a score.py with load_model() and predict(data) beside it that loads {file}"
_LIGHTNING = "load it and save its weights, torch.save(model.state_dict(), 'weights.pt'), then " + _ARCHIVED.format(
    file="weights.pt"
)

# What a file is, and how it becomes an artifact; the first pattern that its name matches.
_LOOSE: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), what, fix)
    for pattern, what, fix in (
        (r".+\.keras", "a Keras model", _KERAS),
        (r".+\.(h5|hdf5)", "a Keras model or its weights", _KERAS),
        (r"saved_model\.pbtxt", "a SavedModel as text", "export its binary form: tf.saved_model.save(model, 'DIR')"),
        (
            r"saved_model\.cpb",
            "a SavedModel in chunks",
            "export it with fewer constants, so that it is a saved_model.pb",
        ),
        (r".+\.(pb|pbtxt)", "a frozen graph", _FROZEN),
        (r"checkpoint|.+\.ckpt(-\d+)?\.meta|.+\.(index|data-\d{5}-of-\d{5})", "a checkpoint", _CHECKPOINT),
        (r".+\.ckpt(-\d+)?", "a checkpoint", _LIGHTNING),
        (r".+\.(pt|pth|pt2)", "a Torch model or its weights", _ARCHIVED),
        (r".+\.onnx", "an ONNX model", _HANDLED),
        (r".+\.safetensors", "weights without a model", _HANDLED),
        (r".+\.(pkl|pickle|joblib)", "a pickled model", _SCORED),
    )
)
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt")
_PROTOCOLS = tuple(b"\x80" + bytes([n]) for n in range(2, 6))


def loose_findings(paths: Collection[str]) -> tuple[Finding, ...]:
    """Return what is there instead of an artifact, of an upload that has none and that has been quiet."""
    return tuple(f for path in sorted(paths) if not path.startswith(_DATA) for f in _loose(path))


def looks_like_a_pickle(path: str, head: bytes) -> bool:
    """Tell whether loading a file would run what it says, by its name or its first bytes."""
    return path.lower().endswith(_PICKLES) or head.startswith(_PROTOCOLS)


def _loose(path: str) -> list[Finding]:
    name = path.rsplit("/", 1)[-1]
    if name in _BESIDE:
        return []
    return _archives(path, name) or _models(path, name)


def _archives(path: str, name: str) -> list[Finding]:
    """Return archives under another name, or of a form that isn't served."""
    if name.endswith(".mar") and name != "model.mar":
        message = "an archive is served only under the name model.mar"
        return [Finding("archive_name", path, message, "build it with --model-name model, or rename it to model.mar")]
    if path.endswith("MAR-INF/MANIFEST.json"):
        message = "it is an archive of the form no-archive, a plain folder; only a zip is served"
        return [Finding("archive_form", path, message, f"build it again: {_DEFAULT}")]
    if name.endswith((".tar.gz", ".tgz")):
        message = "a compressed tar, as --archive-format tgz writes it, is not served"
        fix = f"build it again: {_DEFAULT}; or unpack it and upload what is in it"
        return [Finding("archive_form", path, message, fix)]
    return []


def _models(path: str, name: str) -> list[Finding]:
    for pattern, what, fix in _LOOSE:
        if pattern.fullmatch(name):
            message = f"{what} is not served as it is, and there is no artifact beside it"
            return [Finding("loose_model", path, message, fix.format(file=name[:100]))]
    return []
