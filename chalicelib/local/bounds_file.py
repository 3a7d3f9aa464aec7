"""The operator's bounds, read from a YAML file: what `deploy.yaml` in a drop may ask for."""

from pathlib import Path

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from chalicelib.domain.deploy import Bounds
from chalicelib.domain.errors import Rejected

_CHECKED = TypeAdapter(dataclass(Bounds, frozen=True, config=ConfigDict(extra="forbid")))


def read_bounds(path: Path) -> Bounds:
    """Return the bounds that a file sets, the others at their defaults; raises Rejected, naming the field."""
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        given = {} if read is None else read  # an empty file sets nothing
        _CHECKED.validate_python(given)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Rejected(f"{path} can't be read as YAML: {error}", code="bad_bounds") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise Rejected(f"{path}: {where}: {first['msg']}", code="bad_bounds") from error
    return TypeAdapter(Bounds).validate_python(given)
