"""Asks a replica over its Unix socket whether it is ready. What answers is a stranger's: read little, believe less."""

import asyncio
import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 2.0
_REQUEST = b"GET /ping HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n"
_MOST = 65_536  # bytes of an answer
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Answer:
    ready: bool
    digest: str = ""


SILENCE = Answer(ready=False)


async def ping(socket: Path) -> Answer:
    """Return what it answers within TIMEOUT_S; silence, nonsense and "not yet" are all not ready."""
    if not _is_socket(socket):
        return SILENCE
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return read_answer(await _exchange(socket))
    except (OSError, TimeoutError):
        return SILENCE


def _is_socket(path: Path) -> bool:
    """Refuse a link: its folder is the replica's, and what it leads to may be another's socket."""
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


async def _exchange(socket: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(_REQUEST)
        await writer.drain()
        return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    while len(answer) < _MOST and (block := await reader.read(_MOST)) and not _is_whole(answer := answer + block):
        pass
    return answer


def _is_whole(answer: bytes) -> bool:
    """Tell whether the body is there, for servers that keep the connection although asked to close it."""
    head, found, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,6})\b", head)
    return bool(found and length and len(body) >= int(length[1]))


def read_answer(answer: bytes) -> Answer:
    """Read `200 {"status": "ready", "digest": "sha256:…"}`; anything else is silence."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return read_body(body) if re.match(rb"HTTP/1\.[01] 200 ", head) else SILENCE


def read_body(body: bytes) -> Answer:
    try:
        said = json.loads(body)
    except ValueError:
        return SILENCE
    digest = said.get("digest") if isinstance(said, dict) else None
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        return SILENCE
    return Answer(ready=True, digest=digest)
