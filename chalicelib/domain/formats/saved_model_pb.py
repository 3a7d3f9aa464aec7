"""`saved_model.pb` read as a stream of fields: what serving and completeness need, and no more.

Field numbers are those of TensorFlow's saved_model.proto, meta_graph.proto and tensor_shape.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chalicelib.domain.formats.graph_pb import Graph, Room, node_of, read_graph
from chalicelib.domain.formats.object_graph_pb import Objects, read_objects
from chalicelib.domain.protobuf import LENGTH, VARINT, Field, Wire, signed, text_of

_NAME_COST = 10  # bytes that holding a name takes for each that it has in the file
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
    parts: tuple[str, ...] = ()  # the tensors that a sparse or composite one is made of

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors of the graph that it is."""
        return self.parts or (self.name,)


@dataclass(frozen=True)
class Signature:
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    outputs: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes whose values it feeds or fetches."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return frozenset(node_of(name) for tensor in tensors for name in tensor.names)


@dataclass(frozen=True)
class Asset:
    """A file below assets/, and the node that gets its path when the model is loaded."""

    file: str
    node: str


@dataclass(frozen=True)
class Saver:
    """The nodes that write and read the variables: the file's name, what saves, what restores."""

    filename: str = ""
    save: str = ""
    restore: str = ""


@dataclass(frozen=True)
class MetaGraph:
    """One graph of a SavedModel with what is said about it."""

    tags: frozenset[str] = frozenset()
    tensorflow: str = ""  # the version that wrote it
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()
    saves_variables: bool = False  # by its saver or its object graph
    graph: Graph = field(default_factory=Graph)
    saver: Saver = field(default_factory=Saver)
    collected: frozenset[str] = frozenset()  # nodes that its collections name, as what runs while it loads
    objects: Objects = field(default_factory=Objects)


def read_saved_model(blocks: Iterable[bytes]) -> tuple[MetaGraph, ...]:
    """Return the graphs of a `saved_model.pb`; raises Malformed."""
    wire, room = Wire(blocks), Room()
    return tuple(_meta_graph(wire, f, room) for f in wire.fields() if f.number == 2)  # noqa: PLR2004


@dataclass
class _Read:
    """What was read of a MetaGraph so far: its fields may come in any order, and more than once."""

    tags: list[str] = field(default_factory=list)
    tensorflow: str = ""
    signatures: dict[str, Signature] = field(default_factory=dict)
    assets: list[Asset] = field(default_factory=list)
    collected_assets: list[Asset] = field(default_factory=list)
    collected: set[str] = field(default_factory=set)
    saves: bool = False
    graph: Graph = field(default_factory=Graph)
    saver: Saver = field(default_factory=Saver)
    objects: Objects = field(default_factory=Objects)


def _meta_graph(wire: Wire, message: Field, room: Room) -> MetaGraph:
    read = _Read()
    for f in wire.inside(message):
        _read_field(wire, f, read, room)
    return MetaGraph(
        tags=frozenset(read.tags),
        tensorflow=read.tensorflow,
        signatures=read.signatures,
        assets=tuple(read.assets or read.collected_assets),
        saves_variables=read.saves,
        graph=read.graph,
        saver=read.saver,
        collected=frozenset(read.collected),
        objects=read.objects,
    )


def _read_field(wire: Wire, f: Field, read: _Read, room: Room) -> None:
    match f.number:
        case 1:
            more, read.tensorflow = _meta_info(wire, f)
            read.tags += more
        case 2:
            read_graph(wire, f, read.graph, room)
        case 3:
            read.saves = read.saves or f.value > 0
            read.saver = _saver(wire.take(f), read.saver)
        case 4:
            _collection(wire, f, read, room)
        case 5:
            room.count(_NAME_COST * f.value)
            name, value = _map_entry(wire.take(f))
            read.signatures[name] = _signature(value)
        case 6:
            room.count(_NAME_COST * f.value)
            read.assets.append(_asset(wire.take(f)))
        case 7:
            read.saves = read.saves or f.value > 0
            read_objects(wire, f, read.objects, room)


def _saver(message: bytes, before: Saver) -> Saver:
    """Read a SaverDef; one that comes in two parts is merged, as protobuf does."""
    filename, save, restore = (node_of(_text(message, number)) for number in (1, 2, 3))
    return Saver(filename or before.filename, save or before.save, restore or before.restore)


def _asset(message: bytes) -> Asset:
    tensors = _messages(message, 1)
    return Asset(_text(message, 2), node_of(_text(tensors[-1], 1)) if tensors else "")


def _meta_info(wire: Wire, message: Field) -> tuple[list[str], str]:
    tags, tensorflow = [], ""
    for f in wire.inside(message):
        if f.number == 4:  # noqa: PLR2004
            tags.append(text_of(wire.take(f)))
        elif f.number == 5:  # noqa: PLR2004
            tensorflow = text_of(wire.take(f))
    return tags, tensorflow


def _collection(wire: Wire, entry: Field, read: _Read, room: Room) -> None:
    """A TF1 builder leaves `asset_file_def` empty and puts the same messages, each in an Any, into a collection."""
    name = ""
    for f in wire.inside(entry):
        if f.number == 1:
            name = text_of(wire.take(f))
        elif f.number == 2:  # noqa: PLR2004
            for g in wire.inside(f):
                if g.number == 1:
                    room.count(_NAME_COST * g.value)
                    read.collected.update(node_of(text_of(node)) for node in _messages(wire.take(g), 1))
                elif g.number == 5 and name == _ASSETS_COLLECTION:  # noqa: PLR2004
                    room.count(_NAME_COST * g.value)
                    read.collected_assets += _any_assets(wire.take(g))


def _any_assets(any_list: bytes) -> list[Asset]:
    return [_asset(value) for any_value in _messages(any_list, 1) for value in _messages(any_value, 2)]


def _signature(message: bytes) -> Signature:
    return Signature(_tensors(_messages(message, 1)), _tensors(_messages(message, 2)))


def _tensors(infos: list[bytes]) -> dict[str, Tensor]:
    return {name: _tensor(value) for name, value in map(_map_entry, infos)}


def _tensor(message: bytes) -> Tensor:
    dtype = next((f.value for f in Wire([message]).fields() if f.number == 2 and f.wire == VARINT), 0)  # noqa: PLR2004
    shapes = _messages(message, 3)
    name = _DTYPES[dtype] if dtype < len(_DTYPES) else f"dtype {dtype}"
    return Tensor(_text(message, 1), name, _shape(shapes[-1]) if shapes else None, _parts(message))


def _parts(message: bytes) -> tuple[str, ...]:
    sparse = [_text(coo, number) for coo in _messages(message, 4) for number in (1, 2, 3)]
    composite = [_text(part, 1) for parts in _messages(message, 5) for part in _messages(parts, 2)]
    return tuple(sparse + composite)


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
    return text_of(values[-1]) if values else ""
