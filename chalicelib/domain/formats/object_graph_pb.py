"""The object graph of a SavedModel: which functions are loaded as such, and which of their captures are assets.

Field numbers are those of TensorFlow's saved_object_graph.proto.
"""

from dataclasses import dataclass, field

from chalicelib.domain.formats.graph_pb import Room
from chalicelib.domain.protobuf import LENGTH, VARINT, Field, Malformed, Wire, text_of

_KINDS = frozenset({4, 5, 6, 7, 8, 9, 10, 12})  # the fields of a node, of which the last one says what it is
_ASSET = 5
_FUNCTION_COST = 300
_CAPTURE_COST = 40  # bytes that holding one takes, which has one byte or more in the file


@dataclass
class Objects:
    """What is known of it: a function's captures are numbers of nodes, in the order of its last arguments."""

    captures: dict[str, list[int]] = field(default_factory=dict)
    assets: set[int] = field(default_factory=set)
    nodes: int = 0


def read_objects(wire: Wire, message: Field, objects: Objects, room: Room) -> None:
    """Add a SavedObjectGraph to what is known; raises Malformed."""
    for f in wire.inside(message):
        if f.number == 1:
            kind = 0
            for g in wire.inside(f):
                kind = g.number if g.number in _KINDS else kind
            if kind == _ASSET:
                room.count(_CAPTURE_COST)
                objects.assets.add(objects.nodes)
            objects.nodes += 1
        elif f.number == 2:  # noqa: PLR2004
            _function(wire, f, objects, room)


def _function(wire: Wire, entry: Field, objects: Objects, room: Room) -> None:
    name, captures = "", []
    for f in wire.inside(entry):
        if f.number == 1:
            name = text_of(wire.take(f))
        elif f.number == 2:  # noqa: PLR2004
            for g in wire.inside(f):
                if g.number == 2:  # noqa: PLR2004
                    room.count(_CAPTURE_COST * (g.value if g.wire == LENGTH else 1))
                    captures += _numbers(wire, g)
    room.count(_FUNCTION_COST + len(name))
    objects.captures[name] = captures


def _numbers(wire: Wire, f: Field) -> list[int]:
    """Read a repeated number, which may be packed."""
    if f.wire == VARINT:
        return [f.value]
    if f.wire != LENGTH:
        raise Malformed("a function's captures are no numbers")
    return packed(wire.take(f))


def packed(body: bytes) -> list[int]:
    """Read varints that follow each other."""
    numbers, value, shift = [], 0, 0
    for byte in body:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004
            numbers.append(value)
            value, shift = 0, 0
        elif shift > 63:  # noqa: PLR2004
            raise Malformed("a number never ends")
    return numbers
