"""Writers: each reads an API at its controller, changes its stamp, and writes it, again and again."""

from __future__ import annotations

import contextlib
import random
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from e2e.kit.gateway import Gateway, Json, api, attach, credentials
from e2e.kit.writes import Write
from e2e.outages.traffic import STAMP

PAUSE_SECONDS, AWAY_SECONDS = 0.03, 0.1
"""Between two writes of a writer, and after a write that was not acknowledged."""
ANSWER_SECONDS = 30.0
UNKNOWN = "it is not known whether the change was stored"


@dataclass(frozen=True)
class Site:
    """A controller with a node, and the upstream of its APIs."""

    name: str
    gateway: Gateway
    upstream: str
    admin_port: int
    authority: Path | None = None
    """Who signs the controller's certificate; None: it has none."""
    visitor: Executor | None = None
    """By which the node is asked, where it is in another network."""

    def client(self) -> httpx.Client:
        """Of the controller, also after it was restarted."""
        url = str(self.gateway.status()["controller"])
        verify = ssl.create_default_context(cafile=self.authority) if self.authority else False
        token = credentials(self.gateway.run_dir)
        return httpx.Client(base_url=url, headers=token, verify=verify, timeout=ANSWER_SECONDS)

    def stamped(self, name: str, stamp: str) -> Json:
        """An API whose chain stamps its responses."""
        header = {"name": STAMP, "value": stamp}
        return api(name, f"{self.upstream}/{name}", [attach("add-headers", {"responseHeaders": [header]})])


@dataclass
class Journal:
    """What writers of all sites have met. improper: answers that are not as the API promises."""

    writes: list[Write] = field(default_factory=list)
    reads: list[tuple[float, int]] = field(default_factory=list)
    """When each read was answered, and with which status; 0: not at all."""
    improper: list[str] = field(default_factory=list)


def put(site: Site, client: httpx.Client, name: str, stamp: str, seen: int, journal: Journal) -> Write:
    """Writes an API once, and enters the outcome. seen: 0: whatever is there."""
    at = time.time()
    headers = {"if-match": f'"{seen}"'} if seen else {}
    document, query = site.stamped(name, stamp), {"reason": stamp}
    try:
        answer = client.put(f"/v1/apis/{name}", json=document, headers=headers, params=query)
    except httpx.TransportError as error:
        write = Write(at, time.time(), site.name, name, stamp, seen, "unknown", answer=repr(error))
    else:
        write = outcome_of(answer, Write(at, time.time(), site.name, name, stamp, seen, "failed"), journal)
    journal.writes.append(write)
    return write


def outcome_of(answer: httpx.Response, write: Write, journal: Journal) -> Write:
    """The write with what the answer says of it."""
    answered = replace(write, answer=f"{answer.status_code} {answer.text[:300]}")
    if answer.status_code == 200:
        return replace(answered, outcome="acknowledged", revision=answer.json()["status"]["revision"])
    if answer.status_code == 412 and write.seen:
        return replace(answered, outcome="refused")
    if improper := improper_refusal(answer):
        journal.improper.append(f"{write.controller}, a write: {improper}")
    return replace(answered, outcome="unknown" if UNKNOWN in answer.text else "failed")


def improper_refusal(answer: httpx.Response) -> str:
    """What is wrong with an answer while the database is away; "" for nothing."""
    if answer.status_code != 503:
        return f"expected 503 while the database is away, got {answer.status_code} {answer.text[:300]}"
    if answer.headers.get("content-type") != "application/problem+json":
        return f"expected a problem, got {answer.headers.get('content-type')}"
    if not answer.headers.get("retry-after", "").isdecimal():
        return f"expected Retry-After, got none: {answer.text[:300]}"
    return ""


class Writer(threading.Thread):
    """conditional: whether it sends If-Match. Start it; `end` it."""

    def __init__(self, number: int, site: Site, names: Sequence[str], journal: Journal, *, conditional: bool) -> None:
        super().__init__(name=f"writer {number}")
        self._number, self._site, self._names, self._journal = number, site, names, journal
        self._conditional, self._ended = conditional, threading.Event()
        self._chance = random.Random(number)  # noqa: S311 - no secret

    def end(self) -> None:
        """It ends after the write under way."""
        self._ended.set()

    def run(self) -> None:
        """Writes until it is ended."""
        count = 0
        while not self._ended.is_set():
            with contextlib.suppress(OSError, ValueError), self._site.client() as client:
                acknowledged = True
                while acknowledged and not self._ended.is_set():
                    count += 1
                    acknowledged = self._write(client, self._chance.choice(self._names), f"w{self._number}n{count}")
                    self._ended.wait(PAUSE_SECONDS)
            self._ended.wait(AWAY_SECONDS)

    def _write(self, client: httpx.Client, name: str, stamp: str) -> bool:
        """Whether the controller has its database."""
        if (seen := self._read(client, name)) == 0:
            return False
        write = put(self._site, client, name, stamp, seen if self._conditional else 0, self._journal)
        return write.outcome in ("acknowledged", "refused")

    def _read(self, client: httpx.Client, name: str) -> int:
        """The API's revision; 0 where it is not known now."""
        status, revision = 0, 0
        with contextlib.suppress(httpx.TransportError):
            answer = client.get(f"/v1/apis/{name}")
            status = answer.status_code
            if status == 200:
                revision = answer.json()["status"]["revision"]
            elif improper := improper_refusal(answer):
                self._journal.improper.append(f"{self._site.name}, a read: {improper}")
        self._journal.reads.append((time.time(), status))
        return int(revision)


@contextlib.contextmanager
def writing(sites: Sequence[Site], names: Sequence[str], per_site: int, journal: Journal) -> Iterator[None]:
    """So many writers at each site meanwhile; every second one sends If-Match."""
    writers = [
        Writer(turn * len(sites) + place, site, names, journal, conditional=turn % 2 == 0)
        for turn in range(per_site)
        for place, site in enumerate(sites)
    ]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        for writer in writers:
            writer.end()
        for writer in writers:
            writer.join(2 * ANSWER_SECONDS)
