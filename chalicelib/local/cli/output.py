"""Printing: JSON for machines, tables for people."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = Any
_WHOLE = {"id", "event"}  # columns that people copy from


def console() -> "Console":
    """Return a console on the present stdout."""
    from rich.console import Console  # noqa: PLC0415 - costs start-up time

    return Console(highlight=False)


def print_json(value: Json) -> None:
    """Print one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> "Table":
    """Return a table; what is None or "" shows as a dash."""
    from rich.table import Table  # noqa: PLC0415 - costs start-up time

    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: Any) -> str:
    """Return a cell's text, its brackets kept from being read as markup."""
    return str(value).replace("[", r"\[") if value not in (None, "") else "-"
