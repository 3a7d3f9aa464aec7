"""One signed POST to a webhook's URL: to an address that was looked at, within a time that holds for all of it.

The name is looked up once and the call goes to the very address that was judged, so a name that answers differently
the second time reaches nothing else. Redirects aren't followed, and of the answer nothing but the status is read.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

import httpx

from chalicelib.domain.deliveries import Answer
from chalicelib.domain.standard_webhooks import signed
from chalicelib.domain.webhook_rules import Address, may_reach, why_not
from chalicelib.domain.webhooks import Webhook

TIMEOUT = 10.0  # seconds, from the look-up of the name to the status line
_REDIRECTS = range(300, 400)
_HEADERS = {"content-type": "application/json", "user-agent": f"Modeldrop/{version('modeldrop')}"}


class Poster:
    """A client for any number of calls at once. Use it as a context, on one loop."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        # A connection is one call's: a name's certificate is checked for each, and no receiver can use up a pool.
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            timeout=httpx.Timeout(None, connect=timeout / 3),  # the whole call has one around it
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(self, webhook: Webhook, id_: str, body: str, now: datetime) -> Answer:
        """Send a body and return what came of it; what goes wrong on the way is an answer too."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._sent(webhook, id_, body.encode(), now)
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(0, f"no answer: {error or type(error).__name__}")

    async def _sent(self, webhook: Webhook, id_: str, body: bytes, now: datetime) -> Answer:
        host = urlsplit(webhook.url).hostname or ""
        found = await _addresses(host)
        usable = [address for address in found if may_reach(address, private=webhook.private)]
        if not usable:
            return Answer(0, why_not(host, found, private=webhook.private))
        headers = {**_HEADERS, **signed(id_, body, webhook.signing(now), now)}
        for address in usable[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._sent_to(address, webhook.url, headers, body)
        return await self._sent_to(usable[-1], webhook.url, headers, body)

    async def _sent_to(self, address: Address, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        named = httpx.URL(url)
        at = named.copy_with(host=str(address))
        request = self._client.build_request(
            "POST", at, content=body, headers={**headers, "host": named.netloc.decode()}
        )
        request.extensions["sni_hostname"] = named.host  # whose certificate is expected
        answer = await self._client.send(request, stream=True)
        await answer.aclose()
        return _said(answer)


async def _addresses(host: str) -> Sequence[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(address[0]).partition("%")[0]) for *_, address in found))


def _said(answer: httpx.Response) -> Answer:
    why = f"answered {answer.status_code} {answer.reason_phrase}".rstrip()
    if answer.status_code in _REDIRECTS:
        why += ": redirects aren't followed, give the URL that it leads to"
    seconds = answer.headers.get("retry-after", "")
    wait = timedelta(seconds=int(seconds)) if seconds.isascii() and seconds.isdigit() and len(seconds) < 7 else None  # noqa: PLR2004
    return Answer(answer.status_code, why, wait or timedelta(0))
