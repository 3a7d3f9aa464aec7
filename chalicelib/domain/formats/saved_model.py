"""A TensorFlow SavedModel at the root of a version: what must be there, and what must be in it."""

from collections.abc import Collection, Mapping
from typing import Any

from chalicelib.domain.findings import ArtifactFormat, Finding
from chalicelib.domain.formats.checkpoint import INDEX, Shard, missing_shards, read_index
from chalicelib.domain.formats.saved_model_pb import MetaGraph, Signature, Tensor, read_saved_model
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.objects import Upload
from chalicelib.domain.protobuf import Malformed

ARTIFACT = "saved_model.pb"
_SIGNATURE = "serving_default"
_EXPORT = "export it again with model.export(DIR) or tf.saved_model.save(model, DIR, signatures=…)"


def recognises(paths: Collection[str]) -> bool:
    return ARTIFACT in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Read the graph's descriptions and the variables' index; the shards are judged by their lengths."""
    if upload.paths[ARTIFACT].size == 0:
        return Judgement((Finding("empty_file", ARTIFACT, "it has no bytes", _EXPORT),))
    try:
        graphs = read_saved_model(reader.stream(ARTIFACT))
    except Malformed as e:
        return Judgement((_bad(ARTIFACT, "bad_saved_model", f"it is no SavedModel: {e}"),))
    match _served(graphs):
        case MetaGraph() as graph:
            return _judge_graph(graph, upload, reader, limits)
        case finding:
            return Judgement((finding,))


def _judge_graph(graph: MetaGraph, upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    signature = graph.signatures.get(_SIGNATURE)
    findings = _signature_findings(signature, graph) + _asset_findings(graph)
    missing, wrong = _variables(upload, reader, limits) if graph.saves_variables else ((), ())
    return Judgement(
        findings=findings + wrong,
        missing=missing + tuple(a for a in _asset_paths(graph) if a not in upload.paths),
        schema=None if signature is None else _schema(signature),
        details={"tensorflow": graph.tensorflow, "signatures": sorted(graph.signatures)},
    )


def _served(graphs: tuple[MetaGraph, ...]) -> MetaGraph | Finding:
    """Choose the graph tagged exactly {serve}, else the only one whose tags contain it."""
    exact = [g for g in graphs if g.tags == {"serve"}]
    near = [g for g in graphs if "serve" in g.tags]
    if len(exact or near) == 1:
        return (exact or near)[0]
    tags = "; ".join(", ".join(sorted(g.tags)) or "no tag" for g in graphs) or "no graph at all"
    message = f"one graph must be tagged 'serve'; this file has: {tags}"
    return _bad(f"{ARTIFACT}: tags", "no_serve_tag", message)


def _signature_findings(signature: Signature | None, graph: MetaGraph) -> tuple[Finding, ...]:
    where = f"{ARTIFACT}: signatures"
    if signature is None:
        others = ", ".join(sorted(graph.signatures)) or "none"
        return (_bad(where, "no_serving_default", f"there is no signature {_SIGNATURE!r}; there is: {others}"),)
    lacking = [side for side in ("inputs", "outputs") if not getattr(signature, side)]
    return tuple(_bad(where, "no_serving_default", f"{_SIGNATURE!r} has no {side}") for side in lacking)


def _asset_findings(graph: MetaGraph) -> tuple[Finding, ...]:
    return tuple(
        _bad(f"{ARTIFACT}: assets", "illegal_path", f"the asset {name[:200]!r} lies outside assets/")
        for name in graph.assets
        if not _stays_inside(name)
    )


def _asset_paths(graph: MetaGraph) -> tuple[str, ...]:
    return tuple(f"assets/{name}" for name in dict.fromkeys(graph.assets) if _stays_inside(name))


def _stays_inside(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\\" not in name and "\0" not in name


def _variables(upload: Upload, reader: Reader, limits: Limits) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    index = upload.paths.get(INDEX)
    if index is None:
        has_shards = any(p.startswith("variables/variables.data-") for p in upload.paths)
        return (INDEX, *(() if has_shards else ("variables/variables.data-…",))), ()
    if index.size > limits.index:
        message = f"it has {index.size} bytes, more than {limits.index}"
        return (), (_bad(INDEX, "bad_variables_index", message),)
    try:
        shards = read_index(reader.read(INDEX, 0, index.size))
    except Malformed as e:
        return (), (_bad(INDEX, "bad_variables_index", f"it is no index of variables: {e}"),)
    return missing_shards(shards, upload.paths), _shard_findings(shards, upload)


def _shard_findings(shards: tuple[Shard, ...], upload: Upload) -> tuple[Finding, ...]:
    present = upload.paths
    return tuple(
        Finding(
            "shard_too_long",
            s.path,
            f"it has {present[s.path].size} bytes; variables.index says {s.size}: they are of two exports",
            "upload variables.index and all shards of the same export again",
        )
        for s in shards
        if s.path in present and present[s.path].size > s.size
    )


def _schema(signature: Signature) -> Mapping[str, Any]:
    sides = {"inputs": signature.inputs, "outputs": signature.outputs}
    return {side: {name: _described(tensors[name]) for name in sorted(tensors)} for side, tensors in sides.items()}


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": None if tensor.shape is None else list(tensor.shape)}


def _bad(where: str, code: str, message: str) -> Finding:
    return Finding(code, where, message, _EXPORT)


FORMAT = Format(ArtifactFormat.SAVED_MODEL, ARTIFACT, recognises, judge)
