"""What was sent and what came back, by operation; shared by all loads of one run."""

import threading
from collections import Counter, defaultdict
from typing import Final

import httpx

NO_ANSWER: Final = "no answer"
# Whoever gets one of these tries again with the same key.
RETRYABLE: Final = frozenset({429, 502, 503, NO_ANSWER})

Seen = int | str


class Tally:
    """Answers by operation, and those that nobody should get."""

    def __init__(self) -> None:
        self.answers: defaultdict[str, Counter[Seen]] = defaultdict(Counter)
        self.unexpected: list[str] = []
        self._lock = threading.Lock()

    def count(self, operation: str, seen: Seen) -> None:
        with self._lock:
            self.answers[operation][seen] += 1

    def refuse(self, operation: str, answer: httpx.Response) -> None:
        self.unexpected.append(f"{operation}: {answer.status_code} {answer.text[:300]}")

    def total(self) -> Counter[Seen]:
        with self._lock:
            return sum(self.answers.values(), Counter())
