"""A TensorFlow SavedModel at the root of a version: what must be there, and what must be in it."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from chalicelib.domain.findings import ArtifactFormat, Finding
from chalicelib.domain.formats.checkpoint import (
    INDEX,
    Index,
    Shard,
    is_damaged,
    missing_shards,
    read_index,
    stray_shards,
)
from chalicelib.domain.formats.graph_ops import op_findings
from chalicelib.domain.formats.saved_model_pb import MetaGraph, Signature, Tensor, read_saved_model
from chalicelib.domain.formats.seam import Format, Judgement, Limits, Reader
from chalicelib.domain.objects import Upload
from chalicelib.domain.protobuf import Malformed

ARTIFACT = "saved_model.pb"
_CHUNKED = "saved_model.cpb"
_SIGNATURE = "serving_default"
_EXPORT = "export it again with model.export(DIR) or tf.saved_model.save(model, DIR, signatures=…)"

_TENSOR = re.compile(r"(?P<node>[^:]+):(?P<number>[0-9]{1,9})")
_NAME_BYTES = 255  # of a file's name; a longer one can't be uploaded
_DEPTH = 20  # folders of an asset
_SHOWN = 100  # characters of what the file says of itself
_SAME_EXPORT = "upload variables.index and all shards of the same export again"


def recognises(paths: Collection[str]) -> bool:
    return ARTIFACT in paths


def judge(upload: Upload, reader: Reader, limits: Limits) -> Judgement:
    """Read the graph's descriptions and the variables' index; the shards are judged by their lengths."""
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
    findings = _signature_findings(signature, graph) + _asset_findings(graph) + op_findings(graph)
    missing, wrong = _variables(upload, reader, limits) if graph.saves_variables else ((), ())
    return Judgement(
        findings=findings + _in_chunks(upload.paths) + wrong,
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
    message = f"one graph must be tagged 'serve'; this file has: {tags[:_SHOWN]}"
    return _bad(f"{ARTIFACT}: tags", "no_serve_tag", message)


def _signature_findings(signature: Signature | None, graph: MetaGraph) -> tuple[Finding, ...]:
    where = f"{ARTIFACT}: signatures"
    if signature is None:
        others = ", ".join(sorted(graph.signatures)) or "none"
        return (
            _bad(where, "no_serving_default", f"there is no signature {_SIGNATURE!r}; there is: {others[:_SHOWN]}"),
        )
    lacking = [side for side in ("inputs", "outputs") if not getattr(signature, side)]
    empty = tuple(_bad(where, "no_serving_default", f"{_SIGNATURE!r} has no {side}") for side in lacking)
    return empty + tuple(_missing_tensors(signature, graph))


def _missing_tensors(signature: Signature, graph: MetaGraph) -> Iterator[Finding]:
    functions = {f.name: f.outputs for f in graph.graph.functions}
    for side, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for key, tensor in tensors.items():
            for name in tensor.names:
                if not _has_tensor(graph, functions, name):
                    where = f"{ARTIFACT}: signatures: {_SIGNATURE}: {side}: {key[:_SHOWN]}"
                    yield _bad(where, "missing_tensor", f"the graph has no tensor {name[:_SHOWN]!r}")


def _has_tensor(graph: MetaGraph, functions: Mapping[str, int | None], name: str) -> bool:
    """Tell whether a tensor, as NODE:NUMBER, is an output of a node, as far as it is known how many that has."""
    named = _TENSOR.fullmatch(name)
    node = graph.graph.nodes.get(named["node"]) if named else None
    if named is None or node is None:
        return False
    outputs = functions.get(node.op) if node.outputs is None else node.outputs
    return outputs is None or int(named["number"]) < outputs


def _in_chunks(paths: Collection[str]) -> tuple[Finding, ...]:
    """Refuse a second form of the graph: TensorFlow's readers in C++ take it first, those in Python never."""
    if _CHUNKED not in paths:
        return ()
    message = f"it lies beside {ARTIFACT}, and TensorFlow's readers don't agree on which of them is the graph"
    return (Finding("two_artifacts", _CHUNKED, message, "remove it"),)


def _asset_findings(graph: MetaGraph) -> tuple[Finding, ...]:
    return tuple(
        _bad(
            f"{ARTIFACT}: assets",
            "illegal_path",
            f"the asset {asset.file[:_SHOWN]!r} lies outside assets/, or is no file's name",
        )
        for asset in graph.assets
        if not _stays_inside(asset.file)
    )


def _asset_paths(graph: MetaGraph) -> tuple[str, ...]:
    files = dict.fromkeys(asset.file for asset in graph.assets)
    return tuple(f"assets/{name}" for name in files if _stays_inside(name))


def _stays_inside(name: str) -> bool:
    parts = name.split("/")
    is_legal = all(part not in ("", ".", "..") and len(part.encode()) <= _NAME_BYTES for part in parts)
    return is_legal and len(parts) <= _DEPTH and "\\" not in name and "\0" not in name


def _variables(upload: Upload, reader: Reader, limits: Limits) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    index = upload.paths.get(INDEX)
    if index is None:
        has_shards = any(p.startswith("variables/variables.data-") for p in upload.paths)
        return (INDEX, *(() if has_shards else ("variables/variables.data-…",))), ()
    if index.size > limits.index:
        message = f"it has {index.size} bytes, more than {limits.index}"
        return (), (_bad(INDEX, "bad_variables_index", message),)
    try:
        found = read_index(reader.read(INDEX, 0, index.size))
    except Malformed as e:
        return (), (_bad(INDEX, "bad_variables_index", f"it is no index of variables: {e}"),)
    wrong = (*_shard_findings(found.shards, upload), *_damaged(found, upload, reader))
    return missing_shards(found.shards, upload.paths), wrong


def _damaged(index: Index, upload: Upload, reader: Reader) -> Iterator[Finding]:
    """Compare the checksums of a few small tensors in shards of the right length; the rest is for the replica."""
    whole = {s.path for s in index.shards if s.path in upload.paths and upload.paths[s.path].size == s.size}
    for sample in index.samples:
        if sample.path in whole and is_damaged(sample, reader.read(sample.path, sample.start, sample.size)):
            message = f"the bytes of the variable {sample.name!r} don't have the checksum that variables.index says"
            yield Finding("bad_checksum", sample.path, message, _SAME_EXPORT)


def _shard_findings(shards: tuple[Shard, ...], upload: Upload) -> Iterator[Finding]:
    present = upload.paths
    for s in shards:
        if s.path in present and present[s.path].size > s.size:
            message = f"it has {present[s.path].size} bytes; variables.index says {s.size}: they are of two exports"
            yield Finding("shard_too_long", s.path, message, _SAME_EXPORT)
    for path in stray_shards(shards, present):
        message = f"variables.index names {len(shards)} shards, and this is none of them: it is of another export"
        yield Finding("stray_shard", path, message, f"remove it, or {_SAME_EXPORT}")


def _schema(signature: Signature) -> Mapping[str, Any]:
    sides = {"inputs": signature.inputs, "outputs": signature.outputs}
    return {side: {name: _described(tensors[name]) for name in sorted(tensors)} for side, tensors in sides.items()}


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": None if tensor.shape is None else list(tensor.shape)}


def _bad(where: str, code: str, message: str) -> Finding:
    return Finding(code, where, message, _EXPORT)


FORMAT = Format(ArtifactFormat.SAVED_MODEL, ARTIFACT, recognises, judge, also=(INDEX, "variables/"))
