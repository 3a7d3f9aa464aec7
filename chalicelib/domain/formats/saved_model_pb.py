"""`saved_model.pb` read as a stream of fields: what serving and completeness need, and no more.

Field numbers are those of TensorFlow's saved_model.proto, meta_graph.proto and tensor_shape.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chalicelib.domain.protobuf import LENGTH, VARINT, Field, Malformed, Wire, signed

_ASSETS_COLLECTION = "saved_model_assets"
_DTYPE_NAMES = """invalid float32 float64 int32 uint8 int16 int8 string complex64 int64 bool qint8 quint8 qint32
bfloat16 qint16 quint16 uint16 complex128 float16 resource variant uint32 uint64 float8_e5m2 float8_e4m3fn
float8_e4m3fnuz float8_e4m3b11fnuz float8_e5m2fnuz int4 uint4 int2 uint2 float4_e2m1fn"""
_DTYPES = _DTYPE_NAMES.split()  # by their numbers in types.proto


@dataclass(frozen=True)
class Tensor:
    """One input or output of a signature: `shape` has None for an unknown dimension, and is None when all are."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class MetaGraph:
    """One graph of a SavedModel with what is said about it."""

    tags: frozenset[str] = frozenset()
    tensorflow: str = ""  # the version that wrote it
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    assets: tuple[str, ...] = ()  # file names below assets/
    saves_variables: bool = False  # by its saver or its object graph


def read_saved_model(blocks: Iterable[bytes]) -> tuple[MetaGraph, ...]:
    """Return the graphs of a `saved_model.pb`; raises Malformed."""
    wire = Wire(blocks)
    return tuple(_meta_graph(wire, f) for f in wire.fields() if f.number == 2)  # noqa: PLR2004


def _meta_graph(wire: Wire, message: Field) -> MetaGraph:
    tags: list[str] = []
    tensorflow = ""
    signatures: dict[str, Signature] = {}
    assets: list[str] = []
    collected: list[str] = []
    saves = False
    for f in wire.inside(message):
        match f.number:
            case 1:
                more, tensorflow = _meta_info(wire, f)
                tags += more
            case 3 | 7:
                saves = saves or f.value > 0
            case 4:
                collected += _asset_collection(wire, f)
            case 5:
                name, value = _map_entry(wire.take(f))
                signatures[name] = _signature(value)
            case 6:
                assets.append(_text(wire.take(f), 2))
    return MetaGraph(frozenset(tags), tensorflow, signatures, tuple(assets or collected), saves)


def _meta_info(wire: Wire, message: Field) -> tuple[list[str], str]:
    tags, tensorflow = [], ""
    for f in wire.inside(message):
        if f.number == 4:  # noqa: PLR2004
            tags.append(_utf8(wire.take(f)))
        elif f.number == 5:  # noqa: PLR2004
            tensorflow = _utf8(wire.take(f))
    return tags, tensorflow


def _asset_collection(wire: Wire, entry: Field) -> list[str]:
    """A TF1 builder leaves `asset_file_def` empty and puts the same messages, each in an Any, into a collection."""
    name, assets = "", []
    for f in wire.inside(entry):
        if f.number == 1:
            name = _utf8(wire.take(f))
        elif f.number == 2 and name == _ASSETS_COLLECTION:  # noqa: PLR2004
            assets = [
                _text(value, 2)
                for any_list in _messages(wire.take(f), 5)
                for any_value in _messages(any_list, 1)
                for value in _messages(any_value, 2)
            ]
    return assets


def _signature(message: bytes) -> Signature:
    return Signature(_tensors(_messages(message, 1)), _tensors(_messages(message, 2)))


def _tensors(infos: list[bytes]) -> dict[str, Tensor]:
    return {name: _tensor(value) for name, value in map(_map_entry, infos)}


def _tensor(message: bytes) -> Tensor:
    dtype = next((f.value for f in Wire([message]).fields() if f.number == 2 and f.wire == VARINT), 0)  # noqa: PLR2004
    shapes = _messages(message, 3)
    name = _DTYPES[dtype] if dtype < len(_DTYPES) else f"dtype {dtype}"
    return Tensor(_text(message, 1), name, _shape(shapes[-1]) if shapes else None)


def _shape(message: bytes) -> tuple[int | None, ...] | None:
    if any(f.number == 3 and f.value for f in Wire([message]).fields()):  # noqa: PLR2004
        return None
    return tuple(_dimension(dim) for dim in _messages(message, 2))


def _dimension(message: bytes) -> int | None:
    size = next((signed(f.value) for f in Wire([message]).fields() if f.number == 1 and f.wire == VARINT), 0)
    return None if size < 0 else size


def _map_entry(message: bytes) -> tuple[str, bytes]:
    values = _messages(message, 2)
    return _text(message, 1), values[-1] if values else b""


def _messages(message: bytes, number: int) -> list[bytes]:
    wire = Wire([message])
    return [wire.take(f) for f in wire.fields() if f.number == number and f.wire == LENGTH]


def _text(message: bytes, number: int) -> str:
    values = _messages(message, number)
    return _utf8(values[-1]) if values else ""


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise Malformed(f"a name isn't UTF-8: {raw[:40]!r}") from e
