"""The operator's file, read whole and once."""

from pathlib import Path

from chalicelib.domain.errors import Rejected
from chalicelib.operator_settings import OperatorSettings, parse_operator_settings


def read_operator_file(path: Path) -> OperatorSettings:
    """Return what a file sets; raises Rejected, naming the file and the field."""
    try:
        return parse_operator_settings(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Rejected) as error:
        raise Rejected(f"{path}: {error}", code="bad_bounds") from error
