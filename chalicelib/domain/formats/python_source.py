"""A module's source, parsed and never imported: what it binds at module level, and how its functions are called."""

import ast
import codecs
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from tokenize import detect_encoding

_SHOWN = 100
# A parsed module takes up to 2 kB for each of these, so that a small file could fill the memory.
_WORD = re.compile(r"\w+|[^\w\s]")
_MOST_WORDS = 50_000
# Decoding by some other codecs takes more than the file's size says, or says another source than a person sees.
_ENCODINGS = frozenset({
    "utf-8", "utf-8-sig", "ascii", "iso8859-1", "iso8859-15", "cp1252", "cp1251", "koi8-r", "gbk", "gb2312", "gb18030",
    "big5", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949",
})  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


class BadSource(ValueError):
    """A source that doesn't parse; the message says where."""


@dataclass(frozen=True)
class Module:
    """The statements that run when a module is imported."""

    statements: tuple[ast.stmt, ...]

    @property
    def binds(self) -> frozenset[str]:
        """The names that it binds; `*` stands for an import of all."""
        return frozenset(name for statement in self.statements for name in bound(statement))

    def function(self, name: str) -> Function | None:
        """Return the last binding of a name, if that is a function."""
        last = next((s for s in reversed(self.statements) if name in bound(s)), None)
        return last if isinstance(last, Function) else None

    @property
    def classes(self) -> tuple[ast.ClassDef, ...]:
        return tuple(s for s in self.statements if isinstance(s, ast.ClassDef))


def read_module(source: bytes) -> Module:
    """Return a module's statements; raises BadSource with the line."""
    try:
        return Module(tuple(at_module_level(parse(source).body)))
    except RecursionError as e:
        raise BadSource("it doesn't parse within bounds: it is nested too deep") from e


def parse(source: bytes) -> ast.Module:
    """Parse a source in bounded memory; raises BadSource."""
    try:
        text = _decoded(source)
        _hold(text)
        with warnings.catch_warnings(action="ignore"):  # its own escapes are no concern here
            return ast.parse(text)
    except SyntaxError as e:
        line = f"line {e.lineno}: " if e.lineno else ""
        raise BadSource(f"it doesn't parse: {line}{e.msg}"[:_SHOWN]) from e
    except BadSource:
        raise
    except (ValueError, RecursionError, MemoryError) as e:
        raise BadSource(f"it doesn't parse: {e}"[:_SHOWN]) from e


def _decoded(source: bytes) -> str:
    """Decode as Python would; raises SyntaxError, or ValueError where the bytes aren't of the encoding they name."""
    encoding = codecs.lookup(detect_encoding(BytesIO(source).readline)[0]).name
    if encoding not in _ENCODINGS:
        raise BadSource(f"its encoding is {encoding[:_SHOWN]}; save it as UTF-8")
    return source.decode(encoding)


def _hold(text: str) -> None:
    if next(islice(_WORD.finditer(text), _MOST_WORDS, None), None):
        raise BadSource(f"it doesn't parse within bounds: it has more than {_MOST_WORDS} words and signs")


def bound(statement: ast.stmt) -> set[str]:
    """Return the names that one statement binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(a.asname or a.name).split(".")[0] for a in names}
        case ast.Assign() | ast.AnnAssign(value=ast.expr()):
            return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()


def needs(function: Function) -> list[str]:
    """Return the names of the arguments without which a function can't be called."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    required = positional[: len(positional) - len(given.defaults)]
    keyword = [a for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    return [a.arg for a in (*required, *keyword)]


def takes(function: Function) -> list[str]:
    """Return the names of the arguments that may be given by position."""
    return [a.arg for a in (*function.args.posonlyargs, *function.args.args)]


def at_module_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run at import, also those in `if`, `try`, `with` and loops."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try):
            for field in ("body", "orelse", "finalbody"):
                yield from at_module_level(getattr(statement, field, []))
            for branch in getattr(statement, "handlers", []):
                yield from at_module_level(branch.body)
