"""A module's source, parsed and never imported: what it binds at module level, and how its functions are called."""

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SHOWN = 100
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
    """Parse a module's source; raises BadSource with the line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # its own escapes are no concern here
            return Module(tuple(_at_module_level(ast.parse(source).body)))
    except SyntaxError as e:
        raise BadSource(f"it doesn't parse: line {e.lineno}: {e.msg}"[:_SHOWN]) from e
    except (ValueError, RecursionError, MemoryError) as e:
        raise BadSource(f"it doesn't parse: {e}"[:_SHOWN]) from e


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


def _at_module_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run at import, also those in `if`, `try`, `with` and loops."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try):
            for field in ("body", "orelse", "finalbody"):
                yield from _at_module_level(getattr(statement, field, []))
            for branch in getattr(statement, "handlers", []):
                yield from _at_module_level(branch.body)
