"""What botocore knows of AWS's services, found and read faster than it does by itself: its files are some MB of JSON.

It lists all 400 services before it makes a client of one, and parses into OrderedDict, which slows Python's JSON parser
down. Plain dicts keep their order, too.
"""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader
from pydantic_core import from_json

_READERS: Sequence[tuple[str, Callable[[bytes], bytes]]] = ((".json", bytes), (".json.gz", gzip.decompress))


class _Files(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        """Return the content of a file, which is named without its suffix; None where there is none."""
        for suffix, unpacked in _READERS:
            path = Path(file_path + suffix)
            if path.is_file():
                return from_json(unpacked(path.read_bytes()))
        return None


class ServiceData(Loader):
    """Knows these services and no others."""

    FILE_LOADER_CLASS = _Files

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__()
        self._services = list(services)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # as botocore calls it
        return self._services
