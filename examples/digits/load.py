"""A steady load of real digits over HTTPS: what was asked, who answered, how long it took and whether it was right."""

import asyncio
import itertools
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import digits
import httpx

OK = 200
TIMEOUT_S = 10.0


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


def read_answer(response: httpx.Response) -> tuple[str, int | None, bool]:
    """Return (version, digit, non-finite); ValueError when a 200 isn't {"predictions": [[ten numbers]]} in JSON."""
    version = response.headers.get("x-modeldrop-version", "")
    if response.status_code != OK:
        return version, None, False
    body = response.json()
    match body:
        case {"predictions": [[*probabilities]]} if len(probabilities) == digits.CLASSES:
            return version, digits.likeliest(probabilities), int(response.headers.get("x-modeldrop-nonfinite", 0)) > 0
    raise ValueError(f"not one row of {digits.CLASSES} probabilities: {response.text[:200]}")


@dataclass
class Load:
    """Sends `rate` requests a second, each when its time has come however slow the earlier ones are, until stopped."""

    url: str
    ca: str
    key: str
    questions: digits.Digits
    rate: float = 40.0
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self._began: float | None = None

    def start(self) -> "Load":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def stop(self) -> Sequence[Answer]:
        """Send no more, wait for the open requests and return all answers in the order of their sending."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        return sorted(self.answers, key=lambda a: a.at)

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def elapsed(self) -> float:
        """Seconds since the load began; 0 before."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    async def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        trust = ssl.create_default_context(cafile=self.ca)
        async with (
            httpx.AsyncClient(headers=headers, verify=trust, timeout=TIMEOUT_S) as client,
            asyncio.TaskGroup() as open_,
        ):
            for number in itertools.count():
                await asyncio.sleep(max(0.0, number / self.rate - self.elapsed))
                if self._stop.is_set():
                    return
                open_.create_task(self._ask(client, number % len(self.questions.labels)))

    async def _ask(self, client: httpx.AsyncClient, index: int) -> None:
        question = {"instances": [self.questions.images[index].tolist()]}
        truth, at = int(self.questions.labels[index]), self.elapsed
        try:
            response = await client.post(self.url, json=question)
            version, digit, nonfinite = read_answer(response)
        except (httpx.HTTPError, ValueError) as problem:
            error = f"{type(problem).__name__}: {problem}"
            self.answers.append(Answer(at, self.elapsed - at, 0, "", truth, error=error))
            return
        error = "" if response.status_code == OK else response.text[:300]
        seconds = self.elapsed - at
        self.answers.append(Answer(at, seconds, response.status_code, version, truth, digit, nonfinite, error))
