"""What a call of SageMaker can say beside its body: one header of ASCII, here `key=value` pairs joined by `;`.

InvokeEndpoint strips every other header, both ways. A key without a value (`modeldrop-probe`) stands alone.
"""

from collections.abc import Mapping
from urllib.parse import quote, unquote

MAX_LENGTH = 1024  # characters, by SageMaker's definition
PROBE = "modeldrop-probe"  # asks a container for its digest without running the model
TRACE = "trace"  # the request's id; answered as it was sent
CONTRACT = "contract"  # how the body is meant; without it the model's own way
INSTANCES = "instances"
DIGEST = "digest"
NONFINITE = "nonfinite"
VERSION = "version"
_PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace(";", "").replace("%", "")


def parse(text: str) -> dict[str, str]:
    """Read the pairs; what is no pair is a key without a value, and of a repeated key the first counts."""
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, _, value = part.partition("=")
        pairs.setdefault(key.strip(), unquote(value.strip()))
    return pairs


def format(pairs: Mapping[str, str]) -> str:  # noqa: A001  # read as custom_attributes.format
    """Return the header's text; raises ValueError when it is longer than SageMaker takes."""
    text = ";".join(f"{key}={quote(value, safe=_PLAIN)}" if value else key for key, value in pairs.items())
    if len(text) > MAX_LENGTH:
        raise ValueError(f"{len(text)} characters of custom attributes; SageMaker takes {MAX_LENGTH}")
    return text
