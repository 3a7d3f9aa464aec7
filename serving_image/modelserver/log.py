"""Logs are JSON lines on stderr, one object a line, so that a supervisor can read them."""

import json
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

TRACEBACK_LIMIT = 4096


def emit(event: str, **fields: Any) -> None:
    """Write one line at once; a single write keeps lines of threads apart."""
    sys.stderr.write(json.dumps({"event": event, **fields}, default=str) + "\n")
    sys.stderr.flush()


class JsonHandler(logging.Handler):
    """What a model or a library logs becomes a line of the same kind."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            # A wrong format must cost a line of the log, never the prediction that logged it.
            message = f"{record.msg!r} {record.args!r}"
        fields = {"traceback": _tail(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        emit("log", level=record.levelname.lower(), logger=record.name, message=message, **fields)


def catch_logging() -> None:
    logging.basicConfig(level=logging.INFO, handlers=[JsonHandler()], force=True)


def failure(error: BaseException, roots: tuple[Path, ...] = ()) -> dict[str, str]:
    """Describe what a model raised by its error, the model's own line, and the end of the traceback."""
    return {
        "error": "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]),
        "where": _own_line(error, roots),
        "traceback": _tail(error),
    }


def _tail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-TRACEBACK_LIMIT:]


def _own_line(error: BaseException, roots: tuple[Path, ...]) -> str:
    """Name the innermost line that lies in the model's files, else the innermost of all."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    own = [_relative(name, roots, line) for name, line in lines if _within(name, roots)]
    if own:
        return own[-1]
    return f"{lines[-1][0]}:{lines[-1][1]}" if lines else ""


def _within(name: str, roots: tuple[Path, ...]) -> bool:
    return any(Path(name).is_relative_to(root) for root in roots)


def _relative(name: str, roots: tuple[Path, ...], line: int | None) -> str:
    root = next(root for root in roots if Path(name).is_relative_to(root))
    return f"{Path(name).relative_to(root)}:{line}"
