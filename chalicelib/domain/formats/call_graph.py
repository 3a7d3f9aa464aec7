"""Who calls whom in a graph: nodes of the graph, its functions, and what the loader calls by the object graph."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from chalicelib.domain.formats.graph_pb import BLANK, Graph, Node, carried
from chalicelib.domain.formats.guarded_ops import FREE
from chalicelib.domain.formats.object_graph_pb import Objects


@dataclass(frozen=True)
class Site:
    """A node and where it stands: `function` is None for the graph itself.

    `sources` has, for each input of a node of a function, the number of the function's argument that it is.
    """

    function: str | None
    node: Node
    sources: tuple[int | None, ...] = ()

    def source(self, number: int) -> int | None:
        """Return the argument that an input is; None where it is none."""
        found = self.sources[number] if number < len(self.sources) else None
        return None if found == BLANK else found

    def is_blank(self, number: int, nodes: Mapping[str, Node]) -> bool:
        """Tell whether an input is an empty text."""
        if self.function is not None:
            return number < len(self.sources) and self.sources[number] == BLANK
        given = nodes.get(carried(self.node.inputs[number], nodes)) if number < len(self.node.inputs) else None
        return given is not None and given.is_blank


class Calls:
    """The calls of one graph. `sites` are the nodes that call, or whose op is not free."""

    def __init__(self, graph: Graph, objects: Objects) -> None:
        self.functions = frozenset(f.name for f in graph.functions)
        self.sites = tuple(_sites(graph))
        self._nodes = graph.nodes
        self._objects = objects
        self._arguments = {f.name: f.arguments for f in graph.functions}
        self._callers: dict[str, list[Site]] = defaultdict(list)
        for site in self.sites:
            for name in self._called(site.node):
                self._callers[name].append(site)
        # What is neither a call nor captured: a gradient, or a function that may be put in another's place.
        self._otherwise = graph.mentions | {name for f in graph.functions for name in f.mentions}
        self._otherwise |= {f.name for f in graph.functions if f.replaces}

    def is_loaded(self, function: str) -> bool:
        """Tell whether the loader makes a function callable by itself, with what it captures."""
        return function in self._objects.captures

    def capture(self, function: str, argument: int) -> int | None:
        """Return the object that is a function's argument, if it is captured: its last arguments are."""
        captures = self._objects.captures[function]
        number = argument - (self._arguments.get(function, 0) - len(captures))
        return captures[number] if 0 <= number < len(captures) else None

    def ways_into(self, function: str) -> list[Site] | None:
        """Return the calls of a function; None where its arguments can come otherwise, or nothing calls it."""
        callers = self._callers.get(function, [])
        direct = all(site.node.is_call or site.node.op == function for site in callers)
        if function in self._otherwise or not direct or not (callers or self.is_loaded(function)):
            return None
        return callers

    def only_from(self, root: str) -> frozenset[str]:
        """Return the functions that one node of the graph calls, directly or not, and nothing else does."""
        inside = self._reached(root)
        while True:
            known = {name for name in inside if self._stays_in(name, inside, root)}
            if known == inside:
                return frozenset(known)
            inside = known

    def ancestors(self, *names: str) -> frozenset[str]:
        """Return the nodes of the graph that run when some do."""
        seen, waiting = set(names), list(names)
        while waiting:
            node = self._nodes.get(waiting.pop())
            fresh = {i for i in node.inputs if i not in seen} if node else set()
            seen |= fresh
            waiting += fresh
        return frozenset(seen)

    def _reached(self, root: str) -> set[str]:
        bodies: dict[str, set[str]] = defaultdict(set)
        for site in self.sites:
            bodies[site.function or ""].update(self._called(site.node))
        start = self._nodes.get(root)
        waiting = list(self._called(start)) if start else []
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += bodies[name]
        return seen

    def _stays_in(self, function: str, inside: set[str], root: str) -> bool:
        if self.is_loaded(function) or function in self._otherwise:
            return False
        return all(
            site.node.name == root if site.function is None else site.function in inside
            for site in self._callers[function]
        )

    def _called(self, node: Node) -> Iterable[str]:
        return {*node.calls, node.op} & self.functions


def _sites(graph: Graph) -> Iterator[Site]:
    for node in graph.nodes.values():
        if node.op not in FREE or node.calls:
            yield Site(None, node)
    for function in graph.functions:
        for held in function.held:
            yield Site(function.name, held.node, held.sources)
