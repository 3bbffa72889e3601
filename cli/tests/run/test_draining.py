from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gatewright_cli.clients.engine_admin import EngineAdmin
from gatewright_cli.run.draining import NodeDrain

from cli.tests.node.executors.test_takeover import running

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def test_a_drain_that_has_begun_goes_on_with_the_envoy_that_takes_over(bench: Bench) -> None:
    async def live() -> None:
        async with running(bench) as node:
            admin, envoy = (node.run_dir.socket(f"{name}-admin") for name in ("engine", "envoy"))
            drain = NodeDrain(EngineAdmin(admin), lambda: node.supervisor.process("envoy"), envoy, bench.output)
            fresh = node.next()
            node.engine(fresh.build, "second")
            await node.executors.switch_to(fresh, superseded=["one:v1.0.0"])
            assert node.listening() == 2
            node.signal("drained").touch()
            draining = asyncio.create_task(drain.run())
            await bench.until(lambda: "first /drain_listeners " in node.events())
            await node.executors.finish()
            await bench.until(lambda: 'second /drain {"phase":"drained"}' in node.events())
            assert node.listening() == 0
            draining.cancel()
            await asyncio.wait({draining})

    bench.run(live())
