"""Asks a gate's question by HTTP, at the URL that the operator gave the name: 200 is a yes, and nothing else is."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import urllib3

from chalicelib.domain.question import Question

log = logging.getLogger(__name__)
_PATIENCE = urllib3.Timeout(total=5.0)  # seconds: the next look asks again


@dataclass(frozen=True)
class HttpQuestions:
    """Implements ports.Questions. A redirect isn't followed: it would lead where the operator didn't say."""

    urls: Mapping[str, str]  # by name

    def may_go_on(self, name: str, question: Question) -> bool:
        if name not in self.urls:
            log.warning("nobody is configured to be asked as %s: a person has to approve", name)
            return False
        try:
            return self._status(self.urls[name], question) == 200  # noqa: PLR2004 - OK
        except urllib3.exceptions.HTTPError as error:
            log.warning("%s was asked and didn't answer: %s", name, error)
            return False

    def _status(self, url: str, question: Question) -> int:
        with urllib3.PoolManager(timeout=_PATIENCE, retries=False) as pool:
            body = json.dumps(asdict(question)).encode()
            headers = {"Content-Type": "application/json"}
            answer = pool.request("POST", url, body=body, headers=headers, redirect=False, preload_content=False)
            answer.close()
            return answer.status
