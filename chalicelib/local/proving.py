"""Asks as a caller does, over HTTPS and with a key, who answers: `pipeline.ports.Prober` of one machine."""

import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from chalicelib.domain.proof import Served
from chalicelib.domain.served_by import STICKY_KEY

_TIMEOUT = 2.0  # seconds for one answer: a replica that is slower says nothing now


class HttpsProber:
    """Reaches the gateway where it listens, with the command line's key; `url` is asked for at each connection."""

    def __init__(self, connection: Path, url: Callable[[], str]) -> None:
        self._path = connection
        self._url = url
        self._client: httpx.Client | None = None

    def ask(self, endpoint: str, keys: Sequence[str]) -> Mapping[str, Served]:
        """Return who answers each key; one without an answer is left out."""
        try:
            found = {key: self._served(endpoint, key) for key in keys}
        except (OSError, httpx.TransportError):
            self._client = None  # others may be using it; the next one reads the connection anew
            return {}
        return {key: served for key, served in found.items() if served}

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _served(self, endpoint: str, key: str) -> Served | None:
        answer = self._connected().get(f"/v1/endpoints/{endpoint}/predict", headers={STICKY_KEY: key})
        if not answer.is_success:
            return None
        said = answer.json()
        return Served(said["deployment"], said["digest"])

    def _connected(self) -> httpx.Client:
        if self._client is None:
            said = json.loads(self._path.read_text())
            bearer = {"Authorization": f"Bearer {said['key']}"}
            trust = _own(said["ca"])
            self._client = httpx.Client(
                base_url=self._url(), headers=bearer, verify=trust, timeout=_TIMEOUT, trust_env=False
            )
        return self._client


def _own(certificate: str) -> ssl.SSLContext:
    """Trust the platform's own CA, or the very certificate that it was given: that is for whatever name callers use."""
    trust = ssl.create_default_context(cafile=certificate)
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trust.check_hostname = False
    return trust
