"""Judges the ops of a graph and of its functions by where they stand, reachable or not.

What reaches for files stands in the saver alone, where it runs only while the model is loaded or saved; a table may be
read from a file where that file is one of the export's assets. The saver is what saver_def names: in TF2 two nodes and
the functions that only they call, in TF1 the nodes under its name scope, from which nothing else takes a value.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from chalicelib.domain.findings import Finding
from chalicelib.domain.formats.call_graph import Calls, Site
from chalicelib.domain.formats.graph_op_names import OPS, TENSORFLOW
from chalicelib.domain.formats.graph_pb import Node, carried, shared_name
from chalicelib.domain.formats.guarded_ops import (
    BY_TEXT,
    CACHES,
    FORBIDDEN,
    FREE,
    RESTORES,
    SAVES,
    TABLES,
    what_text_does,
)
from chalicelib.domain.formats.saved_model_pb import MetaGraph

_PB = "saved_model.pb"
_WHILE_LOADING = frozenset({"__saved_model_init_op", "__saved_model_train_op"})
_SHOWN = 50  # findings of a graph
_NAME = 100  # characters of a name that is shown
_READS_VARIABLE = frozenset({"ReadVariableOp", "VarIsInitializedOp"})
_INLINE = "do it outside the model, before the request or after the answer, and export the model again without it"
_CUSTOM = (
    "export the model again without custom ops, or do their work outside the model: they aren't served; "
    f"what is served is TensorFlow {TENSORFLOW} as it is"
)
_AS_ASSET = (
    "make the table with tf.lookup.TextFileInitializer(PATH, …) as an attribute of the exported tf.Module "
    "(TF1: add the path's tensor to the collection ASSET_FILEPATHS), so that the file is exported as an asset"
)


def op_findings(meta: MetaGraph) -> tuple[Finding, ...]:
    """Return what is wrong with the ops of a graph, at most some, each with its node."""
    judging = _Judging(meta)
    found = list(islice(judging.findings(), _SHOWN + 1))
    if len(found) > _SHOWN:
        found[_SHOWN] = Finding(
            "forbidden_op", _PB, f"more than {_SHOWN} nodes are wrong; the rest isn't shown", _INLINE
        )
    return tuple(found)


class _Judging:
    """One graph with who calls whom in it."""

    def __init__(self, meta: MetaGraph) -> None:
        self.meta = meta
        self.nodes = meta.graph.nodes
        self.calls = Calls(meta.graph, meta.objects)
        self.fetched = {n for s in meta.signatures.values() for n in s.nodes}
        self.served = self.calls.ancestors(
            *(n for key, s in meta.signatures.items() if key not in _WHILE_LOADING for n in s.nodes)
        )
        self.scopes = _saver_scopes(meta)
        self.private = self._private()

    def findings(self) -> Iterator[Finding]:
        for name in sorted(set(self.meta.graph.twice)):
            yield Finding("bad_saved_model", _PB, f"more than one node is named {name[:_NAME]!r}", "export it again")
        for name in sorted(self.calls.functions & OPS):
            yield Finding("forbidden_op", _PB, f"a function has the name of the op {name!r}", "export it again")
        for site in self.calls.sites:
            yield from self._judge(site)

    def _judge(self, site: Site) -> Iterator[Finding]:
        node = site.node
        if node.op in FREE or (node.op in self.calls.functions and node.op not in OPS):
            return
        if node.op not in OPS:
            yield _finding(site, f"TensorFlow {TENSORFLOW} has no such op", _CUSTOM, code="unknown_op")
        elif node.op in BY_TEXT:
            what = what_text_does(node.op, dict(node.texts))
            if what:
                yield _finding(site, f"it {what}", _INLINE, code="forbidden_op")
        elif node.op in TABLES:
            if not self._traces(site, 1, self._is_asset, self._is_asset_capture):
                yield _finding(site, "it reads a file that is no asset of this export", _AS_ASSET, code="untraced_file")
        elif node.op in CACHES:
            if not site.is_blank(1, self.nodes):
                yield _finding(site, f"it {CACHES[node.op]}", _INLINE, code="forbidden_op")
        elif not self._in_saver(site):
            yield _finding(site, f"it {FORBIDDEN[node.op]}, which no served graph may do", _INLINE, code="forbidden_op")

    def _in_saver(self, site: Site) -> bool:
        saves, restores = self.private
        if site.function is None:
            return self._in_saver_scope(site.node)
        if site.node.op in RESTORES:
            return site.function in restores and self._traces(site, 0, self._is_filename, lambda *_: False)
        return site.node.op in SAVES and site.function in saves

    def _private(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the functions that only the saver's saving node calls, and those that only its restoring node does."""
        saver = self.meta.saver
        if saver.save == saver.restore or not self._is_isolated({saver.save, saver.restore}.__contains__):
            return frozenset(), frozenset()
        return self.calls.only_from(saver.save), self.calls.only_from(saver.restore)

    def _in_saver_scope(self, node: Node) -> bool:
        """Tell whether a node is one of a TF1 saver's own; a saver that a program left there beside it is one too."""
        if node.op not in SAVES and node.op not in RESTORES:
            return False
        scope = next((s for s in self.scopes if node.name.startswith(s)), None)
        if scope is None or not self._is_isolated(lambda name: name.startswith(scope)):
            return False
        restore = self.meta.saver.restore
        if not restore.startswith(scope):
            return True  # nothing runs it
        if node.op in RESTORES and not self._is_filename(carried(node.inputs[0], self.nodes) if node.inputs else ""):
            return False
        return node.op in RESTORES or node.name not in self.calls.ancestors(restore)

    def _is_isolated(self, belongs: Callable[[str], bool]) -> bool:
        """Tell whether no signature, no collection and no other node takes anything from these nodes."""
        if any(map(belongs, self.fetched | self.meta.collected)):
            return False
        return not any(
            belongs(taken) and not belongs(node.name) for node in self.nodes.values() for taken in node.inputs
        )

    def _traces(
        self, site: Site, number: int, is_source: Callable[[str], bool], is_capture: Callable[[str, int], bool]
    ) -> bool:
        """Tell whether an input of a node comes from a source on every way by which it can get there."""
        if site.function is None:
            inputs = site.node.inputs
            return number < len(inputs) and is_source(carried(inputs[number], self.nodes))
        argument = site.source(number)
        return argument is not None and self._argument_traces(site.function, argument, is_source, is_capture)

    def _argument_traces(
        self, function: str, argument: int, is_source: Callable[[str], bool], is_capture: Callable[[str, int], bool]
    ) -> bool:
        asked, waiting = {(function, argument)}, [(function, argument)]
        while waiting:
            name, number = waiting.pop()
            ways = self.calls.ways_into(name)
            if ways is None or (self.calls.is_loaded(name) and not is_capture(name, number)):
                return False
            for site in ways:
                source = site.source(number)
                if site.function is None:
                    if not self._traces(site, number, is_source, is_capture):
                        return False
                elif source is None:
                    return False
                elif (site.function, source) not in asked:
                    asked.add((site.function, source))
                    waiting.append((site.function, source))
        return True

    def _is_filename(self, name: str) -> bool:
        return name == self.meta.saver.filename

    def _is_asset(self, name: str) -> bool:
        """Tell whether a node is an asset's path, or a variable that holds only that."""
        node = self.nodes.get(name)
        if node is None:
            return False
        if node.op == "VarHandleOp":
            return self._holds_asset(node)
        assets = {a.node for a in self.meta.assets}
        if name not in assets or name in self.fetched:  # one that a caller feeds would be any path
            return False
        # A constant holds the exporter's own path, which is replaced only while the model is loaded.
        return node.op == "Placeholder" or (node.op == "Const" and name not in self.served)

    def _holds_asset(self, variable: Node) -> bool:
        same = [n for n in self.nodes.values() if n.op == "VarHandleOp" and shared_name(n) == shared_name(variable)]
        inside = any(shared_name(variable) in f.variables for f in self.meta.graph.functions)
        users = [n for n in self.nodes.values() if variable.name in n.inputs and n.op not in _READS_VARIABLE]
        return len(same) == 1 and not inside and bool(users) and all(self._assigns_asset(n) for n in users)

    def _assigns_asset(self, node: Node) -> bool:
        value = carried(node.inputs[1], self.nodes) if len(node.inputs) > 1 else ""
        return (
            node.op == "AssignVariableOp" and any(a.node == value for a in self.meta.assets) and self._is_asset(value)
        )

    def _is_asset_capture(self, function: str, argument: int) -> bool:
        captured = self.calls.capture(function, argument)
        return captured in self.meta.objects.assets


def _saver_scopes(meta: MetaGraph) -> tuple[str, ...]:
    """Return the name scopes, each with its last slash, of the savers of a TF1 graph."""
    restores = {n.name for n in meta.graph.nodes.values() if n.op == "NoOp" and n.name.endswith("/restore_all")}
    parents = {name.rpartition("/")[0] for name in restores | {meta.saver.restore}}
    return tuple(sorted(f"{parent}/" for parent in parents if parent))


def _finding(site: Site, what: str, fix: str, *, code: str) -> Finding:
    place = "the graph" if site.function is None else f"function {site.function[:_NAME]!r}"
    where = f"{_PB}: {place}: node {site.node.name[:_NAME]!r}"
    return Finding(code, where, f"the op {site.node.op[:_NAME]} stands there: {what}", fix)
