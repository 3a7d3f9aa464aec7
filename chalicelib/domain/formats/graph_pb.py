"""The nodes of a graph and of its functions, as a stream: what judging ops by their position needs, and no more.

Field numbers are those of TensorFlow's graph.proto, function.proto, node_def.proto and attr_value.proto. Constants are
skipped unread. Of the graph itself every node's name, op and inputs are held; of a function only its guarded ops and
its calls, each with the arguments of the function that its inputs are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from chalicelib.domain.formats.graph_op_names import OPS, OUTPUTS
from chalicelib.domain.formats.guarded_ops import FREE
from chalicelib.domain.protobuf import LENGTH, VARINT, Field, Malformed, Wire, signed, text_of

_CARRIERS = frozenset({"Identity", "ReadVariableOp"})  # hand on their first input
_PASSING = _CARRIERS | {"VarHandleOp"}  # held while their function is read
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})  # an input is the argument of the same number
_INPUTS = 64  # of a node in a function, or a call: no table's initializer has more
_TEXT = 4096  # bytes of an attribute that is judged; a longer one is cut
_BLANK = 64  # bytes that a constant of an empty text has at most
BLANK = -1  # in place of the number of an argument: an input is an empty text
_DEPTH = 20  # of functions that are attributes of functions
_NODE_COST = 300  # bytes that holding a node takes beside its text
_INPUT_COST = 16
_FUNCTION_COST = 1000
_MANY = 100_000  # inputs of one node, its attributes, or functions that they name
_GOES_ON = bytes(range(0x80, 0x100))  # the bytes of a varint before its last


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `inputs` are names of nodes or arguments, without output numbers and marks of control."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()  # functions that its attributes name
    texts: tuple[tuple[str, str], ...] = ()  # its attributes that are texts, where the op is not free
    is_blank: bool = False  # a constant that is an empty text
    outputs: int | None = None  # None where it isn't known

    @property
    def is_call(self) -> bool:
        """Tell whether its inputs are just the arguments of the one function that it calls."""
        return self.op in _CALLS and len(self.calls) == 1


@dataclass(frozen=True, slots=True)
class Held:
    """A node of a function with, for each input, the number of the function's argument that it is, or BLANK."""

    node: Node
    sources: tuple[int | None, ...]


@dataclass(frozen=True)
class Function:
    name: str = ""
    arguments: int = 0
    held: tuple[Held, ...] = ()  # its nodes that call, or whose op is not free
    mentions: tuple[str, ...] = ()  # functions that its own attributes name
    variables: frozenset[str] = frozenset()  # the shared names of variables that it makes
    replaces: bool = False  # TensorFlow may put it in another function's place
    outputs: int | None = None  # None where it isn't known


@dataclass
class Graph:
    nodes: dict[str, Node] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)  # names of nodes that more than one has
    functions: list[Function] = field(default_factory=list)
    mentions: set[str] = field(default_factory=set)  # functions that are gradients


class Room:
    """Counts what is held of a file, so that no file makes us hold more than that."""

    def __init__(self, limit: int = 128 * 2**20) -> None:
        self.limit = limit
        self.used = 0

    def hold(self, node: Node) -> Node:
        text = len(node.name) + sum(map(len, node.calls)) + sum(len(v) for _, v in node.texts)
        self.count(_NODE_COST + text + _INPUT_COST * len(node.inputs))
        return node

    def hold_function(self, function: Function) -> Function:
        names = (function.name, *function.mentions, *function.variables)
        self.count(_FUNCTION_COST + sum(_INPUT_COST + len(name) for name in names))
        return function

    def count(self, size: int) -> None:
        self.used += size
        if self.used > self.limit:
            raise Malformed("its graph has more nodes, signatures or captures than are judged")


def read_graph(wire: Wire, message: Field, graph: Graph, room: Room) -> None:
    """Add a GraphDef to what is known of a graph; raises Malformed."""
    for f in wire.inside(message):
        if f.number == 1:
            _add(room.hold(_node(wire, f)), graph)
        elif f.number == 2:  # noqa: PLR2004
            _library(wire, f, graph, room)


def _add(node: Node, graph: Graph) -> None:
    if node.name in graph.nodes:
        graph.twice.append(node.name)
    graph.nodes[node.name] = node


def _library(wire: Wire, message: Field, graph: Graph, room: Room) -> None:
    for f in wire.inside(message):
        if f.number == 1:
            graph.functions.append(room.hold_function(_function(wire, f, room)))
        elif f.number in (2, 3):
            room.count(_NODE_COST + f.value)
            graph.mentions.update(text_of(wire.take(g)) for g in wire.inside(f) if g.wire == LENGTH)


def _function(wire: Wire, message: Field, room: Room) -> Function:
    name = ""
    arguments: list[str] = []
    outputs: int | None = 0
    nodes: dict[str, Node] = {}
    attributes: list[_Said] = []
    used = room.used
    for f in wire.inside(message):
        _bounded(len(arguments) + len(attributes))
        match f.number:
            case 1:
                name, arguments, outputs = _signature(wire, f, name, arguments)
            case 3:
                node = _node(wire, f, _INPUTS)
                if node.op not in FREE or node.calls or node.is_blank or node.op in _PASSING:
                    nodes[node.name if node.name not in nodes else f"{node.name} #{len(nodes)}"] = room.hold(node)
            case 5:
                attributes.append(_attribute(wire, f))
    room.used = used
    return Function(
        name=name,
        arguments=len(arguments),
        held=tuple(_resolved(n, nodes, arguments, room) for n in nodes.values() if n.op not in FREE or n.calls),
        mentions=tuple(called for said in attributes for called in said.calls),
        variables=frozenset(shared_name(n) for n in nodes.values() if n.op == "VarHandleOp"),
        replaces=any(said.key == "api_implements" for said in attributes),
        outputs=outputs,
    )


def shared_name(node: Node) -> str:
    """Return the name that two nodes share when they are one variable."""
    return dict(node.texts).get("shared_name") or node.name


def _resolved(node: Node, nodes: dict[str, Node], arguments: list[str], room: Room) -> Held:
    numbers = {name: n for n, name in enumerate(arguments)}
    numbers |= {name: BLANK for name, constant in nodes.items() if constant.is_blank}
    return Held(room.hold(node), tuple(numbers.get(carried(name, nodes)) for name in node.inputs))


def carried(name: str, nodes: Mapping[str, Node]) -> str:
    """Follow a value back through what only hands it on, to the node or argument where it comes from."""
    for _ in range(_INPUTS):
        node = nodes.get(name)
        if node is None or node.op not in _CARRIERS or not node.inputs:
            break
        name = node.inputs[0]
    return name


def _signature(wire: Wire, message: Field, name: str, arguments: list[str]) -> tuple[str, list[str], int | None]:
    """Read a function's OpDef: its name, its arguments, and how many outputs it has if none of them is a list."""
    outputs, lists = 0, False
    for f in wire.inside(message):
        match f.number:
            case 1:
                name = text_of(wire.take(f))
            case 2:
                arguments = [*arguments, *(text_of(wire.take(g)) for g in wire.inside(f) if g.number == 1)]
            case 3:
                outputs += 1
                lists = lists or any(g.number in (5, 6) and g.value > 0 for g in wire.inside(f))
    return name, arguments, None if lists else outputs


def _node(wire: Wire, message: Field, inputs_limit: int | None = None) -> Node:
    name, op = "", ""
    inputs: list[str] = []
    said: list[_Said] = []
    for f in wire.inside(message):
        _bounded(len(inputs) + len(said))
        match f.number:
            case 1:
                name = text_of(wire.take(f))
            case 2:
                op = text_of(wire.take(f))
            case 3:
                inputs.append(node_of(text_of(wire.take(f))))
            case 5:
                said.append(_attribute(wire, f))
    keeps = op not in FREE or op == "VarHandleOp"
    texts = tuple((s.key, s.text) for s in said if s.text) if keeps else ()
    blank = op == "Const" and [t for s in said for t in s.tensors] == [True]  # two would be merged
    calls = tuple(c for s in said for c in s.calls)
    return Node(name, op, tuple(inputs[:inputs_limit]), calls, texts, blank, _outputs(op, said))


def _outputs(op: str, said: list["_Said"]) -> int | None:
    """Return how many outputs an op has; None where it is a function, or where an attribute keeps to its default."""
    if op not in OUTPUTS:
        return 1 if op in OPS else None
    total, counts = 0, {s.key: s.count for s in said}
    for term in OUTPUTS[op].split("+"):
        times, _, what = term.rpartition("*")
        count = int(what) if what.isdigit() else counts.get(what)
        if count is None:
            return None
        total += int(times or 1) * count
    return total


def _bounded(count: int) -> None:
    if count > _MANY:
        raise Malformed(f"one of its nodes or functions has more than {_MANY} parts")


def node_of(reference: str) -> str:
    """Return the node, or the function's argument, that an input or a tensor's name refers to."""
    return reference.lstrip("^").split(":", 1)[0]


@dataclass
class _Said:
    """What one attribute says."""

    key: str = ""
    text: str = ""
    calls: list[str] = field(default_factory=list)
    tensors: list[bool] = field(default_factory=list)  # of each constant that it holds, whether it is an empty text
    count: int | None = None  # the number that it is, or how many types it lists


def _attribute(wire: Wire, message: Field) -> _Said:
    said = _Said()
    for f in wire.inside(message):
        if f.number == 1:
            said.key = text_of(wire.take(f))
        elif f.number == 2:  # noqa: PLR2004
            _value(wire, f, said, 0)
    return said


def _value(wire: Wire, message: Field, said: _Said, depth: int) -> None:
    """Read an AttrValue: its text or count, and every function that it names, also one that is another's attribute."""
    for f in wire.inside(message):
        match f.number:
            case 2 if f.wire == LENGTH:
                said.text = "…" if f.value > _TEXT else wire.take(f).decode(errors="replace")
            case 8 if f.wire == LENGTH:
                _bounded(len(said.tensors))
                said.tensors.append(f.value <= _BLANK and _is_blank(wire.take(f)))
            case 3 if f.wire == VARINT:
                said.count = signed(f.value)
            case 10:
                _named(wire, f, said, depth)
            case 1:
                said.count = said.count or 0
                for g in wire.inside(f):
                    said.count += _types(wire, g)
                    if g.number == 9:  # noqa: PLR2004
                        _named(wire, g, said, depth)


def _types(wire: Wire, f: Field) -> int:
    """Return how many types a field of a list holds, which may be packed."""
    if f.number != 6:  # noqa: PLR2004
        return 0
    return len(wire.take(f).translate(None, _GOES_ON)) if f.wire == LENGTH else 1


def _is_blank(tensor: bytes) -> bool:
    """Tell whether a TensorProto is one empty text: of type 7, with no bytes in any of its values."""
    wire = Wire([tensor])
    values = {f.number: f.value for f in wire.fields() if f.number != 2}  # noqa: PLR2004
    return values == {1: 7, 8: 0}


def _named(wire: Wire, message: Field, said: _Said, depth: int) -> None:
    if depth > _DEPTH:
        raise Malformed(f"functions are nested in attributes more than {_DEPTH} deep")
    for f in wire.inside(message):
        _bounded(len(said.calls))
        if f.number == 1:
            said.calls.append(text_of(wire.take(f)))
        elif f.number == 2:  # noqa: PLR2004
            for g in _only(wire, f, 2):
                # Its functions count; its text says nothing of this node.
                _value(wire, g, _Said(calls=said.calls), depth + 1)


def _only(wire: Wire, message: Field, number: int) -> Iterator[Field]:
    return (f for f in wire.inside(message) if f.number == number)
