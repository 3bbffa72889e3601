from __future__ import annotations

import asyncio
import importlib.metadata
import os
import stat
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from gatewright_cli.node.executors.recycling import resident
from gatewright_cli.node.files.peers import own_check
from gatewright_cli.node.supervisor_metrics import SupervisorMetrics
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, State
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import Guest, ProcessSpec
from prometheus_client.parser import text_string_to_metric_families


def process(name: str, component: str = "") -> ManagedProcess:
    """One that was never started."""
    spec = ProcessSpec(name=name, command=("true",), ready=Accepts(address="127.0.0.1:1"), component=component)
    return ManagedProcess(spec, LogOutput(2))


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, in the order of their names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_processes_are_counted_by_component() -> None:
    executors = [process(f"executor-default-{number}", "python-executor") for number in range(2)]
    envoy = process("envoy")
    metrics = SupervisorMetrics(lambda: [*executors, envoy])
    executors[0].state = State.READY
    values = samples(metrics.text())
    assert values["gatewright_process_up", "python-executor"] == values["gatewright_process_up", "supervisor"] == 1
    assert values["gatewright_process_up", "envoy"] == values["gatewright_process_memory_bytes", "envoy"] == 0
    assert 0 < values["gatewright_process_memory_bytes", "supervisor"] < 2 * resident(os.getpid())
    assert values["gatewright_build_info", "supervisor", "0.1.0"] == 1


def test_a_wheel_has_no_distribution_of_the_supervisors(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    assert samples(SupervisorMetrics(list).text())["gatewright_build_info", "supervisor", "0.1.0"] == 1


def test_restarts_of_processes_that_are_gone_still_count() -> None:
    processes = [process("executor-default-0", "python-executor"), process("envoy")]
    metrics = SupervisorMetrics(lambda: processes)
    metrics.count_restarts()
    assert samples(metrics.text())["gatewright_process_restarts_total", "envoy"] == 0
    for restarted in processes:
        restarted.restarts.delay_after(0)
        restarted.restarts.delay_after(0)
        metrics.count_restarts()
    metrics.count_restarts()
    processes[0] = process("executor-default-0.2", "python-executor")
    metrics.count_restarts()
    processes[0].restarts.delay_after(0)
    metrics.count_restarts()
    values = samples(metrics.text())
    assert values["gatewright_process_restarts_total", "python-executor"] == 3
    assert values["gatewright_process_restarts_total", "envoy"] == 2


def test_reloads_and_recycled_executors_are_counted() -> None:
    metrics = SupervisorMetrics(list)
    assert samples(metrics.text())["gatewright_reloads_total", "refused"] == 0
    metrics.count_reload("refused", 0.2)
    metrics.count_reload("reloaded", 3)
    metrics.count_recycled("default", "memory")
    values = samples(metrics.text())
    assert values["gatewright_reloads_total", "refused"] == values["gatewright_reloads_total", "reloaded"] == 1
    assert values["gatewright_reload_duration_seconds_sum",] == 3.2
    assert values["gatewright_executor_recycled_total", "default", "memory"] == 1


def test_a_failure_is_answered_with_its_reason_and_logged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at, log, metrics = tmp_path / "metrics.sock", tmp_path / "log", SupervisorMetrics(list)

    def fail() -> bytes:
        raise LookupError("no version of it")

    monkeypatch.setattr(metrics, "text", fail)

    async def ask(output: LogOutput) -> list[str]:
        telling = metrics.socket(at, own_check(at, output), output)
        await telling.start()
        try:
            transport = httpx.AsyncHTTPTransport(uds=str(at))
            async with httpx.AsyncClient(transport=transport, base_url="http://supervisor") as client:
                return [(await client.get("/metrics")).text for _ in range(2)]
        finally:
            await telling.close()

    with log.open("wb") as file:
        output = LogOutput(file.fileno())
        assert asyncio.run(ask(output)) == 2 * ["LookupError: no version of it\n"]
        output.close()
    text = log.read_text()
    assert text.count("metrics cannot be reported") == text.count("Traceback") == 1, text
    assert 'raise LookupError("no version of it")' in text


def test_metrics_are_served_on_a_socket_of_their_own(tmp_path: Path) -> None:
    at = tmp_path / "metrics.sock"

    async def ask() -> tuple[int, bytes]:
        telling = SupervisorMetrics(list).socket(at, own_check(at, LogOutput(2)), LogOutput(2))
        await telling.start()
        try:
            mode = stat.S_IMODE(at.stat().st_mode)
            transport = httpx.AsyncHTTPTransport(uds=str(at))
            async with httpx.AsyncClient(transport=transport, base_url="http://supervisor") as client:
                return mode, (await client.get("/metrics")).content
        finally:
            await telling.close()

    mode, text = asyncio.run(ask())
    assert mode == 0o600
    assert samples(text)["gatewright_process_up", "supervisor"] == 1
    assert not at.exists()


def test_the_engine_inside_envoy_counts_as_the_engine() -> None:
    envoy = process("envoy")
    envoy.spec = replace(envoy.spec, guest=Guest("engine", "policy-engine", (), lambda _: None))
    metrics = SupervisorMetrics(lambda: [envoy])
    envoy.state = State.READY
    envoy.restarts.count = 2
    metrics.count_restarts()
    values = samples(metrics.text())
    for component in ("envoy", "policy-engine"):
        assert values["gatewright_process_up", component] == 1
        assert values["gatewright_process_restarts_total", component] == 2
    assert ("gatewright_process_memory_bytes", "policy-engine") not in values, "it has none of its own"
