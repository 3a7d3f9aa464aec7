"""An upload without credentials: requests that a store takes from whoever has their URLs, for one file and no other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ONE_PUT = 256 * 2**20  # bytes; what is larger is sent in parts, which can be sent again one by one
_PART = 64 * 2**20
_MOST_PARTS = 1_000  # of one file: ten times less than S3 takes, and an answer of URLs stays small


@dataclass(frozen=True)
class SignedRequest:
    """One request, to be sent with these headers; `offset` and `length` say which bytes of the file it takes."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str]
    offset: int = 0
    length: int = 0


@dataclass(frozen=True)
class SignedUpload:
    """The requests that write a file: one, or parts in their order and then `complete`, with their ETags."""

    parts: tuple[SignedRequest, ...]
    complete: SignedRequest | None = None


def ranges(size: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and length of each part of a file; of one that isn't large, itself."""
    if size <= ONE_PUT:
        yield 0, size
        return
    least = -(-size // _MOST_PARTS)
    part = -(-least // _PART) * _PART
    for offset in range(0, size, part):
        yield offset, min(part, size - offset)
