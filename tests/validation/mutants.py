"""Run as a program: drop each rule in turn, and say which drops change the outcome of no artifact of the corpus.

A rule is a place in `chalicelib.domain` that raises, or that names a finding's code. All of them are rewritten while
they are imported, so that one at a time can be switched off; it is tried on the artifacts that came to it. The
arguments are the folders that the exporters filled; what is printed is JSON: `unreached` and `survived`, each a list of
places with what they say.
"""

import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import json
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
DOMAIN = ROOT / "chalicelib" / "domain"
FRONT = (
    "layout",
    "loose",
    "impostors",
    "manifest",
    "zipdir",
    "zipwalk",
    "protobuf",
    "sstable",
    "pickles",
    "strict_yaml",
    "yaml_values",
    "ahead",
)
MODULES = {f"chalicelib.domain.{name}" for name in FRONT} | {
    f"chalicelib.domain.formats.{path.stem}" for path in DOMAIN.glob("formats/*.py") if path.stem != "__init__"
}
MODULES.add("chalicelib.domain.formats")
MAKERS = {"Finding", "ZipFault"}
DROPPED = "@dropped"
HANGS_AFTER_S = 5
MEMORY = 4 * 2**30


class Switches:
    """Knows which rule is off, and which artifacts come to which rule."""

    def __init__(self) -> None:
        self.off = ""
        self.artifact = ""
        self.reached: dict[str, set[str]] = defaultdict(set)
        self.rules: dict[str, str] = {}  # what each says, as its source says it

    def rule(self, place: str) -> bool:
        self.reached[place].add(self.artifact)
        return place != self.off

    def code(self, place: str, code: str) -> str:
        return code if self.rule(place) else DROPPED


class Rewrite(ast.NodeTransformer):
    """Puts a switch before every `raise`, and around every code that a finding is made with."""

    def __init__(self, module: str, switches: Switches) -> None:
        self.module = module.removeprefix("chalicelib.domain.")
        self.switches = switches

    def place(self, node: ast.Raise | ast.Call) -> str:
        place = f"{self.module}:{node.lineno}:{node.col_offset}"
        self.switches.rules[place] = f"{self.module}: {ast.unparse(node)[:200]}"
        return place

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        if node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id.islower()):
            return node
        test = call("__rule__", ast.Constant(self.place(node)))
        return ast.copy_location(ast.If(test, [node], []), node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and (node.func.id in MAKERS or node.func.id.startswith("_bad")):
            node.args = [self.switched(node, a) for a in node.args]
        return node

    def switched(self, made: ast.Call, argument: ast.expr) -> ast.expr:
        if isinstance(argument, ast.Constant) and argument.value in CODES:
            return ast.copy_location(call("__code__", ast.Constant(self.place(made)), argument), argument)
        return argument


def call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


class Loader(importlib.machinery.SourceFileLoader):
    switches: Switches

    def get_code(self, fullname: str) -> object:
        tree = Rewrite(fullname, self.switches).visit(ast.parse(Path(self.path).read_text()))
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MODULES:
            return None
        path = ROOT.joinpath(*fullname.split("."))
        package = path.is_dir()
        file = path / "__init__.py" if package else path.with_suffix(".py")
        folders = [str(path)] if package else None
        loader = Loader(fullname, str(file))
        return importlib.util.spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=folders)


SWITCHES = Loader.switches = Switches()
builtins.__rule__ = SWITCHES.rule  # type: ignore[attr-defined]
builtins.__code__ = SWITCHES.code  # type: ignore[attr-defined]
PAGE = (ROOT / "docs" / "validation.md").read_text()
CODES = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")}
sys.meta_path.insert(0, Finder())

from tests.validation.cases import CASES  # noqa: E402 - after the finder
from tests.validation.corpus import Built, Case, judged, outcome, without  # noqa: E402 - after the finder


class Hang(Exception):
    pass


def hang(*_: object) -> None:
    raise Hang


def told(case: Case, built: Built) -> object:
    """Return the outcome of a case with the rule off that is off; whatever else comes of it is an outcome, too."""
    signal.alarm(HANGS_AFTER_S)
    try:
        return outcome(without(judged(case, built), lambda f: f.code == DROPPED))
    except Exception as e:  # noqa: BLE001 - a rule that was dropped may break anything
        return type(e).__name__
    finally:
        signal.alarm(0)


def survivors(built: Built, normal: dict[str, object]) -> Iterator[str]:
    for place in sorted(SWITCHES.rules):
        SWITCHES.off = place
        reached = sorted(SWITCHES.reached[place] - {""})
        if reached and all(told(CASES[name], built) == normal[name] for name in reached):
            yield place
    SWITCHES.off = ""


def main() -> None:
    built = Built(*map(Path, sys.argv[1:]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, hang)
    normal = {}
    for name, case in CASES.items():
        SWITCHES.artifact = name
        normal[name] = told(case, built)
    SWITCHES.artifact = ""
    unreached = sorted(place for place in SWITCHES.rules if not SWITCHES.reached[place] - {""})
    survived = list(survivors(built, normal))
    said = {"unreached": [SWITCHES.rules[p] for p in unreached], "survived": [SWITCHES.rules[p] for p in survived]}
    print(json.dumps({"rules": len(SWITCHES.rules), **said}))


if __name__ == "__main__":
    main()
