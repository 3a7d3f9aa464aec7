"""What several processes behind one port count, as one page: who is asked asks the others, on sockets of their own."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelserver.http import Cancel
from modelserver.messages import Request, Response
from modelserver.metrics import CONTENT_TYPE

ASK = b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n"
WITHIN_S = 1.0


class OwnMetrics:
    """The application of a process's own socket: whatever it is asked, it answers what this process counts."""

    is_draining = False

    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text

    def handle(self, request: Request, reply: Callable[[Response], None]) -> Cancel | None:
        del request
        reply(Response(200, self._text(), CONTENT_TYPE))
        return None


@dataclass(frozen=True, slots=True)
class Siblings:
    """A process's number, and the folder where each has its socket by number."""

    number: int
    count: int
    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / str(self.number)

    async def joined(self, own: bytes) -> bytes:
        """Return everybody's page as one; who isn't up yet, or doesn't answer in time, has none."""
        others = [n for n in range(self.count) if n != self.number]
        pages = await asyncio.gather(*(_page(self.folder / str(n)) for n in others))
        said = {str(n): page for n, page in zip(others, pages, strict=True) if page}
        return join({str(self.number): own.decode(), **said}).encode()


async def _page(socket: Path) -> str:
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            writer.write(ASK)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return ""
    return answer.partition(b"\r\n\r\n")[2].decode()


def join(pages: Mapping[str, str]) -> str:
    """Make one page of several: each family once, each of its samples with the label `process`."""
    families: dict[str, list[str]] = {}
    for process, page in sorted(pages.items()):
        samples: list[str] = []
        for line in page.splitlines():
            if line.startswith("# HELP"):
                samples = families.setdefault(line, [])
            elif line.startswith("#"):
                samples[:] = samples or [line]
            else:
                samples.append(_labelled(line, process))
    return "".join(f"{line}\n" for head, lines in families.items() for line in (head, *lines))


def _labelled(sample: str, process: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{process="{process}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{process="{process}"}} {value}'
