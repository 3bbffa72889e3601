"""How a page fares while it is watched: its frames, its long tasks, its memory and its worker's, its nodes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import CDPSession, Page

FRAMES = """
() => {
  const frames = { gaps: [], tasks: [], before: performance.now() };
  const next = (now) => {
    frames.gaps.push(now - frames.before);
    frames.before = now;
    frames.handle = requestAnimationFrame(next);
  };
  frames.observer = new PerformanceObserver((list) => {
    for (const task of list.getEntries()) frames.tasks.push(task.duration);
  });
  frames.observer.observe({ type: "longtask" });
  frames.handle = requestAnimationFrame(next);
  globalThis.framesTest = frames;
}
"""
TAKE_FRAMES = """
() => {
  const { gaps, tasks, handle, observer, before } = globalThis.framesTest;
  cancelAnimationFrame(handle);
  observer.disconnect();
  return { gaps: [...gaps, performance.now() - before], tasks }; // the last one has not ended
}
"""


@dataclass(frozen=True)
class Frames:
    """ms between two, and of each task that took more than 50."""

    gaps: list[float]
    tasks: list[float]

    @property
    def longest(self) -> float:
        return max(self.gaps)

    @property
    def usual(self) -> float:
        """95 % are not longer."""
        return sorted(self.gaps)[int(len(self.gaps) * 0.95)]

    @property
    def busy(self) -> float:
        """The share of the time that was in long tasks."""
        return sum(self.tasks) / sum(self.gaps)

    def __str__(self) -> str:
        return (
            f"{len(self.gaps)} frames, 95 % within {self.usual:.0f} ms, the longest {self.longest:.0f} ms; "
            f"{len(self.tasks)} long tasks, {self.busy:.0%} of the time"
        )


def begin_frames(page: Page) -> None:
    page.evaluate(FRAMES)


def end_frames(page: Page) -> Frames:
    """Since `begin_frames`."""
    return Frames(**page.evaluate(TAKE_FRAMES))


@dataclass(frozen=True)
class Memory:
    """heap: bytes in use after a collection, of page and workers; nodes: of documents, listeners: on them."""

    heap: int
    nodes: int
    listeners: int

    def __str__(self) -> str:
        return f"{self.heap / 1e6:.1f} MB, {self.nodes} nodes, {self.listeners} listeners"


class MemoryProbe:
    """Asks the browser itself. Make it before the page has workers."""

    def __init__(self, page: Page) -> None:
        self._page: CDPSession = page.context.new_cdp_session(page)
        self._workers: list[str] = []
        self._answers: dict[int, Any] = {}
        self._last = 0
        self._page.on("Target.attachedToTarget", self._attached)
        self._page.on("Target.detachedFromTarget", lambda event: self._workers.remove(event["sessionId"]))
        self._page.on("Target.receivedMessageFromTarget", self._received)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        self._page.send("Target.setAutoAttach", attach)
        self._page.send("Performance.enable")

    @property
    def workers(self) -> int:
        return len(self._workers)

    def read(self) -> Memory:
        self._page.send("HeapProfiler.collectGarbage")
        metrics = {metric["name"]: metric["value"] for metric in self._page.send("Performance.getMetrics")["metrics"]}
        heap = self._page.send("Runtime.getHeapUsage")["usedSize"]
        for worker in list(self._workers):
            self._ask(worker, "HeapProfiler.collectGarbage")
            heap += self._ask(worker, "Runtime.getHeapUsage")["usedSize"]
        return Memory(int(heap), int(metrics["Nodes"]), int(metrics["JSEventListeners"]))

    def _attached(self, event: Any) -> None:
        if event["targetInfo"]["type"] == "worker":
            self._workers.append(event["sessionId"])

    def _received(self, event: Any) -> None:
        message = json.loads(event["message"])
        if "id" in message:
            self._answers[message["id"]] = message

    def _ask(self, worker: str, method: str) -> Any:
        self._last += 1
        message = json.dumps({"id": self._last, "method": method})
        self._page.send("Target.sendMessageToTarget", {"sessionId": worker, "message": message})
        while self._last not in self._answers:
            self._page.send("Performance.getMetrics")  # meanwhile messages come in
        return self._answers.pop(self._last)["result"]
