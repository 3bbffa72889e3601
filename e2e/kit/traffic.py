"""Bounded load beside a test: every answer is accounted for."""

from __future__ import annotations

import http.client
import operator
import select
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from e2e.kit.gateway import eventually

IN_A_ROW = 20


@dataclass
class Traffic:
    """Answers by status, "error" without an answer. `problems` are the bodies of answers other than 200, `sent` the
    number of requests of each client."""

    url: str
    answers: list[int | str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    host: str | None = None
    sent: list[int] = field(default_factory=list)

    def counts(self) -> Counter[int | str]:
        return Counter(self.answers)

    def is_steady(self) -> bool:
        """Whether the last IN_A_ROW answers, of all clients, were 200."""
        return self.answers[-IN_A_ROW:] == [200] * IN_A_ROW

    def wait_for(self, count: int) -> None:
        """Waits for so many more answers."""
        before = len(self.answers)
        eventually(f"{count} more answers", lambda: len(self.answers) >= before + count, 60)

    def wait_for_each(self) -> None:
        """Waits until the requests under way, of all clients, have ended."""
        before = list(self.sent)
        eventually("each client goes on", lambda: all(map(operator.gt, self.sent, before)), 60)

    def failures(self) -> int:
        """The number of answers other than 200."""
        return sum(status != 200 for status in self.answers)

    def run(self, number: int, ended: threading.Event, pause: float, keep_alive: bool = True) -> None:
        """Runs the client of this number."""
        split = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(split.hostname), split.port, timeout=10)
        with closing(connection):
            while not ended.is_set():
                self._send_one(connection, split.path)
                if not keep_alive:
                    connection.close()
                self.sent[number] += 1
                ended.wait(pause)

    def _send_one(self, connection: http.client.HTTPConnection, path: str) -> None:
        if connection.sock and select.select([connection.sock], [], [], 0)[0]:  # only the end can come now
            connection.close()
        try:
            connection.request("GET", path, headers={"host": self.host} if self.host else {})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.answers.append("error")
            self.problems.append(repr(error))
            return
        self.answers.append(answer.status)
        if answer.status != 200:
            self.problems.append(f"{answer.getheader('content-type')} {body.decode(errors='replace')}")


@contextmanager
def traffic(
    *urls: str, clients: int = 2, pause: float = 0.01, host: str | None = None, keep_alive: bool = True
) -> Iterator[list[Traffic]]:
    """Runs clients that send one request after another to each URL, until the block ends. host: the host header, by
    default the URL's. keep_alive: on one connection, or on a new one for each request."""
    ended = threading.Event()
    flows = [Traffic(url, host=host, sent=[0] * clients) for url in urls]
    threads = [
        threading.Thread(target=flow.run, args=(number, ended, pause, keep_alive))
        for flow in flows
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield flows
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)
