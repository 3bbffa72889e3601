"""Bounded load beside a test: every answer is accounted for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

IN_A_ROW = 20


@dataclass
class Traffic:
    """Answers by status; "error" where there was none. `problems` are the bodies of what was not 200."""

    url: str
    answers: list[tuple[float, int | str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    host: str | None = None

    def counts(self) -> Counter[int | str]:
        return Counter(status for _, status in self.answers)

    def is_steady(self) -> bool:
        """Whether the last IN_A_ROW answers, of all clients, were 200."""
        return [status for _, status in self.answers[-IN_A_ROW:]] == [200] * IN_A_ROW

    def last_failure(self) -> float:
        """When the last answer that was not 200 came (time.monotonic), 0 when there was none."""
        return max((when for when, status in self.answers if status != 200), default=0.0)

    def run(self, ended: threading.Event, pause: float) -> None:
        with httpx.Client(timeout=10) as client:
            while not ended.is_set():
                self._one(client)
                ended.wait(pause)

    def _one(self, client: httpx.Client) -> None:
        try:
            answer = client.get(self.url, headers={"host": self.host} if self.host else None)
        except httpx.HTTPError as error:
            self.answers.append((time.monotonic(), "error"))
            self.problems.append(repr(error))
            return
        self.answers.append((time.monotonic(), answer.status_code))
        if answer.status_code != 200:
            self.problems.append(f"{answer.headers.get('content-type')} {answer.text}")


@contextmanager
def traffic(*urls: str, clients: int = 2, pause: float = 0.01, host: str | None = None) -> Iterator[list[Traffic]]:
    """Clients that ask each URL one request after another, until the block ends. host: what they name, if not the
    URL's."""
    ended = threading.Event()
    flows = [Traffic(url, host=host) for url in urls]
    threads = [threading.Thread(target=flow.run, args=(ended, pause)) for flow in flows for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield flows
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)
