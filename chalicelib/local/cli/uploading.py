"""Upload by requests that the platform signs: who pushes needs its API key and no credentials of the store."""

import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import httpx

from chalicelib.domain.refs import VersionRef
from chalicelib.local.cli.exits import Ended, Status

if TYPE_CHECKING:
    from chalicelib.domain.manifest import Manifest
    from chalicelib.local.cli.connection import Platform

Advance = Callable[[int], None]
Signed = dict[str, Any]
_BLOCK = 2**20
_ATTEMPTS = 5  # at a request that got no answer, or one that says to come again
_PAUSE = 1.0  # seconds before the second, doubled each time
_AGAIN = 500  # a status from here on is the store's trouble, not ours


def upload_by_api(
    ref: VersionRef, manifest: "Manifest", path_of: Callable[[str], Path], platform: "Platform", advance: Advance
) -> None:
    """Write a version's files and last its manifest; raises Ended."""
    asked = {"model_id": ref.model_id, "version_id": ref.version_id}
    files = [file.model_dump() for file in manifest.files]
    signed = platform.post("/v1/uploads", {**asked, "files": files})
    with httpx.Client(verify=_trust(platform.ca), timeout=httpx.Timeout(60, write=300)) as store:
        for file in signed["files"]:
            _write(file, path_of(file["path"]), store, advance)
        last = signed["manifest"]
        _send(last, last["body"].encode, store)


def _write(file: Signed, path: Path, store: httpx.Client, advance: Advance) -> None:
    tags = []
    for part in file["parts"]:
        answer = _send(part, partial(_bytes_of, path, part), store)
        tags.append(answer.headers.get("etag", ""))
        advance(part["length"])
    if file["complete"]:
        answer = _send(file["complete"], _parts_in_xml(tags).encode, store)
        if "<Error>" in answer.text:  # S3 may fail behind a 200
            raise Ended(Status.UNREACHABLE, f"{file['path']}: the store couldn't put it together: {answer.text[:300]}")


def _bytes_of(path: Path, part: Signed) -> Iterator[bytes]:
    left = part["length"]
    with path.open("rb") as body:
        body.seek(part["offset"])
        while left > 0 and (block := body.read(min(_BLOCK, left))):
            left -= len(block)
            yield block


def _parts_in_xml(tags: list[str]) -> str:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    return f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'


def _send(request: Signed, body: Callable[[], Any], store: httpx.Client) -> httpx.Response:
    """Send a signed request until it is answered; its body is made anew each time. Raises Ended."""
    where, pause = request["url"].partition("?")[0], _PAUSE
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            answer = store.request(request["method"], request["url"], headers=request["headers"], content=body())
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
        else:
            if answer.is_success:
                return answer
            if answer.status_code < _AGAIN:
                raise Ended(Status.NO, f"{where}: the store refuses it ({answer.status_code}): {answer.text[:300]}")
            why = f"it answered {answer.status_code}"
        if attempt < _ATTEMPTS:
            time.sleep(pause)
            pause *= 2
    raise Ended(Status.UNREACHABLE, f"{where}: can't reach the store: {why}")


def _trust(ca: str) -> ssl.SSLContext:
    """Return trust in the system's CAs and in the platform's: a store may have a certificate of either."""
    context = ssl.create_default_context()
    if ca:
        context.load_verify_locations(ca)
    return context
