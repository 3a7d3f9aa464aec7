"""Which of a model's signatures a request is for."""

from collections.abc import Mapping
from typing import Any

from modelserver.errors import bad_request
from modelserver.formats import Model, Signature
from modelserver.media import SIGNATURE

NAME = "signature_name"


def reader_for(model: Model, name: Any, where: str) -> Model | Signature:
    """Return what makes rows for a signature, the model itself where none is named; raise 400 that lists them."""
    if name is None or name == "":
        return model
    if isinstance(name, str) and name in model.signatures:
        return model.signatures[name]
    found = ", ".join(model.signatures) or "none: it is one function"
    raise bad_request("unknown_signature", f"the model has no signature {name!r:.200}; it has {found}", where)


def named(headers: Mapping[str, str], *documents: Any) -> tuple[Any, str]:
    """The first name that is said, in the body or in the header, and where it was said."""
    for document in documents:
        if isinstance(document, dict) and document.get(NAME) is not None:
            return document[NAME], NAME
    return headers.get(SIGNATURE), SIGNATURE
