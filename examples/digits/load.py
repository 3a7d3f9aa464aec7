"""A steady load of real digits over HTTPS: what was asked, who answered, how long it took and whether it was right."""

import itertools
import json
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import digits

OK = 200
TIMEOUT_S = 30.0
CONNECTIONS = 24


@dataclass(frozen=True)
class Answer:
    """One request and what came of it. `status` 0: no answer; `digit` None: no usable prediction."""

    at: float  # seconds since the load began, when it was sent
    seconds: float
    status: int
    version: str
    truth: int
    digit: int | None = None
    nonfinite: bool = False
    error: str = ""

    @property
    def is_failed(self) -> bool:
        return self.status != OK


@dataclass(frozen=True)
class Tally:
    """What one version did."""

    requests: int
    failed: int
    nonfinite: int
    accuracy: float
    p50_ms: float
    p95_ms: float


def tally(answers: Sequence[Answer]) -> Tally:
    """Count some answers, at least one; a failed request is a wrong one."""
    return Tally(
        requests=len(answers),
        failed=sum(a.is_failed for a in answers),
        nonfinite=sum(a.nonfinite for a in answers),
        accuracy=sum(a.digit == a.truth for a in answers) / len(answers),
        p50_ms=quantile([a.seconds * 1000 for a in answers], 0.50),
        p95_ms=quantile([a.seconds * 1000 for a in answers], 0.95),
    )


def by_version(answers: Iterable[Answer]) -> dict[str, Tally]:
    """Return a tally for each version that answered; requests without an answer are under ""."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.version].append(answer)
    return {version: tally(group) for version, group in sorted(groups.items())}


def quantile(values: Sequence[float], q: float) -> float:
    """Return the q-quantile of some values, at least one: the smallest that q of them do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-q * len(ranked) // 1) - 1))]


def read_answer(status: int, headers: Mapping[str, str] | Message, body: bytes) -> tuple[str, int | None, bool]:
    """Return (version, digit, non-finite); ValueError when a 200 isn't {"predictions": [[ten numbers]]} in JSON."""
    version = headers.get("x-modeldrop-version") or ""
    if status != OK:
        return version, None, False
    match json.loads(body):
        case {"predictions": [[*probabilities]]} if len(probabilities) == digits.CLASSES:
            return version, digits.likeliest(probabilities), int(headers.get("x-modeldrop-nonfinite") or 0) > 0
    raise ValueError(f"not one row of {digits.CLASSES} probabilities: {body[:200]!r}")


@dataclass
class Load:
    """Sends `rate` requests a second over kept-alive connections until stopped.

    Each is sent when its time has come; when all connections wait for answers, what is due waits for the next free
    one, as it would in an app with a connection pool.
    """

    url: str
    ca: str
    key: str
    questions: digits.Digits
    rate: float = 40.0
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._trust = ssl.create_default_context(cafile=self.ca or None)
        self._threads = [threading.Thread(target=self._run, name=f"load-{i}") for i in range(CONNECTIONS)]
        self._began: float | None = None

    def start(self) -> "Load":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Sequence[Answer]:
        """Send no more, wait for the open requests and return all answers in the order of their sending."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        return sorted(self.answers, key=lambda a: a.at)

    @property
    def is_running(self) -> bool:
        return self._began is not None and not self._stop.is_set()

    @property
    def elapsed(self) -> float:
        """Seconds since the load began; 0 before."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def _run(self) -> None:
        where = urlsplit(self.url)
        connection = HTTPSConnection(where.netloc, timeout=TIMEOUT_S, context=self._trust)
        while True:
            number = next(self._numbers)
            if self._stop.wait(max(0.0, number / self.rate - self.elapsed)):
                connection.close()
                return
            self.answers.append(self._ask(connection, where.path, number % len(self.questions.labels)))

    def _ask(self, connection: HTTPSConnection, path: str, index: int) -> Answer:
        question = json.dumps({"instances": [self.questions.images[index].tolist()]})
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        truth, at = int(self.questions.labels[index]), self.elapsed
        try:
            connection.request("POST", path, question, headers)
            response = connection.getresponse()
            body = response.read()
            seconds = self.elapsed - at
            version, digit, nonfinite = read_answer(response.status, response.headers, body)
        except (OSError, HTTPException, ValueError) as problem:
            connection.close()  # the next request opens a new one
            return Answer(at, self.elapsed - at, 0, "", truth, error=f"{type(problem).__name__}: {problem}")
        error = "" if response.status == OK else body[:300].decode(errors="replace")
        return Answer(at, seconds, response.status, version, truth, digit, nonfinite, error)
