"""Asks in the background: whoever is slow to answer a gate's question holds up no rollout, not even that one."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from chalicelib.domain.question import Question
from chalicelib.pipeline.ports import Questions

_AT_ONCE = 4


@dataclass(frozen=True)
class _Asked:
    at: float
    answer: Future[bool]

    @property
    def is_yes(self) -> bool:
        return self.answer.done() and not self.answer.exception() and self.answer.result()


class BackgroundQuestions:
    """Implements ports.Questions over one that waits for its answer; asks each question again after `every` seconds."""

    def __init__(self, questions: Questions, every: float = 10.0) -> None:
        self._questions = questions
        self._every = every
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="question")
        self._asked: dict[tuple[str, str, int], _Asked] = {}

    def may_go_on(self, name: str, question: Question) -> bool:
        key = (name, question.rollout, question.before)
        with self._lock:
            asked = self._asked.get(key)
            if asked and asked.is_yes:
                del self._asked[key]  # the rollout writes it down
                return True
            now = time.monotonic()
            if asked is None or (asked.answer.done() and now >= asked.at + self._every):
                self._asked[key] = _Asked(now, self._pool.submit(self._questions.may_go_on, name, question))
        return False

    def close(self) -> None:
        """End without waiting for answers: what wasn't answered is asked again after the next start."""
        self._pool.shutdown(wait=False, cancel_futures=True)
