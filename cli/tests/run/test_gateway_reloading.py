from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners import gateway
from gatewright_cli.node.listeners.gateway import Gateway, Listener
from gatewright_cli.run.gateway_reloading import GatewayRefusedError, GatewayReloads, GatewaySource, Prepared
from gatewright_cli.supervision.orphans import Orphans

FIRST = Gateway({"kind": "Gateway"}, (Listener("http"),))
GATEWAY = """apiVersion: gatewright.dev/v1
kind: Gateway
spec:
  listeners:
  - {{name: http, port: {port}}}
"""
SECOND = Gateway({"kind": "Gateway", "spec": {}}, (Listener("http", port=8081),))


class Engine(EngineAdmin):
    """Reads the file as an engine does, and refuses one with `bad` in it."""

    def __init__(self, run_dir: RunDir) -> None:
        self._rendered = run_dir.path / gateway.RENDERED
        self.read: list[bytes] = []

    async def reload_gateway(self) -> None:
        self.read.append(self._rendered.read_bytes())
        if b"bad" in self.read[-1]:
            raise EngineRefusedError("the port is taken")


def prepared(content: bytes) -> Prepared:
    return Prepared(SECOND, base64.b64encode(content).decode())


@pytest.fixture
def run_dir() -> Iterator[RunDir]:
    opened = RunDir.open(None)
    gateway.write_document(opened, FIRST)
    opened.write_bytes(gateway.RENDERED, b"first")
    yield opened
    opened.remove()


def reloads(run_dir: RunDir, engine: Engine) -> GatewayReloads:
    return GatewayReloads(
        GatewaySource(Path("gateway.yaml"), {}, FIRST), run_dir, None, engine, Orphans(lambda _: None)
    )


def test_an_applied_gateway_is_the_current_one(run_dir: RunDir) -> None:
    engine = Engine(run_dir)
    listening = reloads(run_dir, engine)
    asyncio.run(listening.apply(prepared(b"second")))
    assert listening.current == SECOND
    assert engine.read == [b"second"]


def test_what_the_engine_refuses_is_withdrawn_from_it(run_dir: RunDir) -> None:
    """It may have it pending, and would else listen on it some day."""
    engine = Engine(run_dir)
    listening = reloads(run_dir, engine)
    with pytest.raises(GatewayRefusedError, match="the port is taken"):
        asyncio.run(listening.apply(prepared(b"bad")))
    assert listening.current == FIRST
    assert engine.read == [b"bad", b"first"]
    assert (run_dir.path / gateway.RENDERED).read_bytes() == b"first"


def test_a_listener_overlaps_where_it_takes_from_another() -> None:
    listener = Listener("one", "127.0.0.1", 8080)
    assert listener.overlaps(Listener("two", "0.0.0.0", 8080))  # noqa: S104
    assert not listener.overlaps(Listener("two", "127.0.0.1", 8081))


class CountedOrphans(Orphans):
    """Counts the processes that are started."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.started = 0

    @contextmanager
    def starting(self) -> Iterator[Callable[[int], None]]:
        self.started += 1
        with super().starting() as started:
            yield started


def test_a_file_is_read_by_a_process_only_after_it_has_changed(run_dir: RunDir, tmp_path: Path) -> None:
    """A start of that process takes longer than all else of a reload that changes nothing."""
    file, orphans = tmp_path / "gateway.yaml", CountedOrphans()
    file.write_text(GATEWAY.format(port=8081))
    first = gateway.gateway_from_json(gateway.effective_as_json(file, {}))
    source = GatewaySource(file, {}, first, tmp_path)
    listening = GatewayReloads(source, run_dir, None, Engine(run_dir), orphans)
    assert asyncio.run(listening.prepare()) is None
    assert orphans.started == 0
    file.write_text(GATEWAY.format(port=8082))
    changed = asyncio.run(listening.prepare())
    assert changed
    assert [listener.port for listener in changed.gateway.listeners] == [8082]
    assert orphans.started == 1
    file.unlink()
    with pytest.raises(GatewayRefusedError, match="no such file"):
        asyncio.run(listening.prepare())
