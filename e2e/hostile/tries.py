"""Every try of the hostile policy, in the words of docs/explanation/isolation.md, and what else the suite looks at."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from e2e.hostile.node import BEARER
from e2e.hostile.try_result import TryResult
from e2e.hostile.where import OWN_GROUP, executor
from e2e.kit.gateway import Gateway, Json, eventually

SECONDS = 70.0
CLIENTS, REQUESTS = 8, 200
FORGED = "written by the hostile policy"
FORGED_LINES = 4
OUTLIVED_SECONDS = 5.0
GROUPS = {"neighbour": "a policy of its group", "key-check": "a policy of another group"}


@dataclass(frozen=True)
class Subject:
    """The gateway under attack, and the places of its secrets that the policy is given."""

    gateway: Gateway
    where: Callable[[], Json]

    def ask(self, name: str, policy: str = "hostile") -> TryResult:
        """The result of the try as the policy reports it."""
        headers = {"x-where": json.dumps(self.where(), separators=(",", ":"))}
        answer = httpx.get(f"{self.gateway.url}/{policy}/{name}", headers=headers, timeout=SECONDS)
        assert answer.status_code == 200, f"the try {name} was answered {answer.status_code}: {answer.text}"
        return TryResult.of(answer.json())


Judge = Callable[[Subject, "Try"], TryResult]


def judge_answer(subject: Subject, this: Try) -> TryResult:
    """The answer has the proof: what was read, answered, or returned by the kernel."""
    return subject.ask(this.name)


def judge_other_policy(subject: Subject, this: Try) -> TryResult:
    """Another policy tries it, whose definition asks for less; the try has its name."""
    return subject.ask(this.name, this.name)


@dataclass(frozen=True)
class Try:
    name: str
    says: str
    judge: Judge = judge_answer

    def run(self, subject: Subject) -> TryResult:
        return self.judge(subject, self)


def judge_bypass(subject: Subject, this: Try) -> TryResult:
    """A replaced policy counts as reached if a request passes that was denied before, and its token is read."""
    result, headers = TryResult(), {"authorization": f"Bearer {BEARER}"}
    replaced = subject.ask(this.name)
    for policy, target in GROUPS.items():
        status = httpx.get(f"{subject.gateway.url}/{policy}/x", headers=headers).status_code
        loot = subject.ask("loot").reached.get(target, "")
        if status == 200 and BEARER in loot:
            result.reached[target] = "the request passed, and its token was read"
        else:
            result.refused[target] = f"{status}; {replaced.refused.get(target, '')}"
    return result


def judge_theft(subject: Subject, this: Try) -> TryResult:
    """Clients come meanwhile, each with a connection and a token of its own."""

    def client(_: int) -> str:
        headers = {"authorization": f"Bearer {BEARER}", "connection": "close"}
        with suppress(httpx.HTTPError):
            return httpx.get(f"{subject.gateway.url}/bare/x", headers=headers, timeout=SECONDS).text
        return ""

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        answer = pool.submit(subject.ask, this.name)
        stolen = sum(answer == "stolen" for answer in pool.map(client, range(REQUESTS)))
        result = answer.result()
    return result if stolen or not result.reached else result.but("", "no client had its answer")


def judge_forgery(subject: Subject, this: Try) -> TryResult:
    """A line counts as forged where the log has it as another process's, or with another time than its own."""
    subject.ask(this.name)
    gateway = subject.gateway

    def lines() -> list[Json]:
        return [record for record in gateway.records() if FORGED in str(record)]

    eventually("the log has the lines", lambda: len(lines()) >= FORGED_LINES)
    forged = [
        record
        for record in lines()
        if record["component"] != "python-executor" or str(record["time"]).startswith("2001")
    ]
    return TryResult({"": str(forged[0])}) if forged else TryResult(refused={"": "all are messages of python-executor"})


def judge_survival(subject: Subject, this: Try) -> TryResult:
    """Kills the executor of one child, and stops the gateway with another. The last try: no gateway is left."""
    result, gateway = TryResult(), subject.gateway
    first = int(subject.ask(this.name).reached[""])
    killed = executor(gateway, OWN_GROUP)
    os.kill(killed, signal.SIGKILL)
    eventually("the executor has ended", lambda: not Path(f"/proc/{killed}").exists())
    _expect_ended(result, "its executor", first)
    eventually("the policy answers again", lambda: _answers(subject), 30)
    second = int(subject.ask(this.name).reached[""])
    gateway.stop()
    _expect_ended(result, "the gateway", second)
    return result


def _expect_ended(result: TryResult, target: str, pid: int) -> None:
    """Whether a child still runs, after it had the time to be ended. What does is ended here."""
    with suppress(AssertionError):
        eventually("the child has ended", lambda: not _is_child(pid), OUTLIVED_SECONDS)
    if _is_child(pid):
        result.reached[target] = f"process {pid} lives on"
        os.kill(pid, signal.SIGKILL)
    else:
        result.refused[target] = f"process {pid} has ended"


def _is_child(pid: int) -> bool:
    """The policy reported the pid, which may be another process's by now."""
    try:
        return b"main.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _answers(subject: Subject) -> bool:
    url = f"{subject.gateway.url}/hostile/loot"
    return httpx.get(url, headers={"x-where": "{}"}, timeout=SECONDS).status_code == 200


SECTIONS: dict[str, tuple[Try, ...]] = {
    "In its own process": (
        Try("environment", "secrets in its own environment"),
        Try("inherited-descriptors", "files that others have opened, inherited"),
        Try("parameters", "parameters and system parameters of other policies"),
        Try("hooks", "other policies' functions: denied requests pass, clients' tokens are read", judge_bypass),
    ),
    "Other processes": (
        Try("process-list", "which ones run"),
        Try("command-lines", "their command lines"),
        Try("environ", "their environments, `/proc/PID/environ`"),
        Try("memory", "their memory, `/proc/PID/mem`"),
        Try("process-vm", "their memory, `process_vm_readv`"),
        Try("ptrace", "to trace them, `ptrace`"),
        Try("descriptors", "their open files, `/proc/PID/fd` and `pidfd_getfd`"),
        Try("signals", "to signal them, `kill`"),
        Try("group-signals", "to signal their process groups, `killpg`"),
        Try("limits", "to change their limits, priority, processors"),
    ),
    "Files of the gateway and the operator": (
        Try("see-files", "to see that they are there, `stat`"),
        Try("watch-files", "to watch them for changes, `inotify`"),
        Try("read-files", "to read them"),
        Try("read-code", "to read the code of another group's policies"),
        Try("write-files", "to write and make files"),
        Try("change-files", "to change modes, owners, times, attributes"),
        Try("setuid", "to become root by a set-user-id program"),
    ),
    "Sockets and the network": (
        Try("private-sockets", "an answer from the node's private sockets"),
        Try("management-api", "an answer from the management API"),
        Try("other-sockets", "an answer from another program's Unix sockets"),
        Try("listening-port", "clients' requests at the gateway's port, by `SO_REUSEPORT`", judge_theft),
        Try("other-port", "to listen on another TCP port"),
        Try("raw-sockets", "raw packets"),
        Try("elsewhere", "servers of the network, where its definition says nothing"),
        Try("offline", "servers of the network, where its definition says `network: none`", judge_other_policy),
    ),
    "The kernel": (
        Try("shared-memory", "what another program keeps in it: shared memory, messages"),
        Try("namespaces", "namespaces and mounts of its own"),
        Try("kernel-interfaces", "`io_uring`, `bpf`, `perf_event_open`, `userfaultfd`, the log, keyrings"),
    ),
    "What all share": (
        Try("threads", "5,000 threads"),
        Try("processes", "200 processes"),
        Try("one-file", "a file of 8 GiB in its temporary folder"),
        Try("many-files", "2 GiB in 64 files in its temporary folder"),
        Try("memory-storm", "2 GiB of memory, with `--executor-memory-limit 512MiB`"),
    ),
    "What others see of it": (
        Try("forged-logs", "log lines in another's name, access lines", judge_forgery),
        Try("child", "children that outlive", judge_survival),
    ),
}
"""The last one ends the gateway."""
TRIES = tuple(attempt for section in SECTIONS.values() for attempt in section)
