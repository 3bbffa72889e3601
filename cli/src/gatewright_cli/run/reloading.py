"""A reload: build → freeze → ask the controller → take over → tell the controller.

A reload that is refused changes nothing. It may bring documents of APIs along (`gatewright apply --reload`): the
controller checks the definitions with these in the place of the stored ones, and stores them when it is told.

Where definitions change, the controller is asked first whether each API can go on with them. The policies concerned
stay in the old executors, which drain; once the new executors serve, the controller deploys the APIs again, and the
node replaces them as in any other change of an API.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gatewright_cli.builds.build_output import BuildOutputError
from gatewright_cli.builds.build_runs import BuildRefusedError, BuildRuns
from gatewright_cli.builds.difference import Difference, difference
from gatewright_cli.builds.generation import Generation, GenerationError, Generations
from gatewright_cli.node.engine_admin import EngineRefusedError
from gatewright_cli.node.executors import Executors
from gatewright_cli.node.management import ApiDocument, DeployError, Management, NoAnswerError, PolicyImpact
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.run.gateway_reloading import GatewayRefusedError, GatewayReloads, Prepared
from gatewright_cli.supervision.log_output import LogOutput
from gatewright_cli.supervision.managed_process import StartError

STORE_SECONDS = 20.0
"""How long a controller that is away is asked to store APIs whose policies run already."""
RETRY_SECONDS = 0.5
NO_CONTROLLER = "the run has no controller to take APIs: start it without --no-controller, or use `gatewright reload`"

Reload = tuple[Difference, bool]
"""What has changed of the build, and whether the listeners have."""


class ReloadError(Exception):
    """The present generation goes on: `reasons` has a sentence for each mistake."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Reloaded:
    """The generation that serves now, how long it took until it did, and what of the build needs a restart.

    changed: what is otherwise than before. spent: seconds by the part of the reload that they went into. listens:
    whether the node listens on something else than before. apis: names of those that came with it.
    """

    generation: int
    seconds: float
    notes: tuple[str, ...] = ()
    changed: Difference = field(default_factory=Difference)
    spent: dict[str, float] = field(default_factory=dict)
    listens: bool = False
    apis: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """reloaded or unchanged."""
        return "reloaded" if self.changed or self.listens or self.apis else "unchanged"


class Reloads:
    """Reloads of one run, one after the other. Close it.

    builds: makes the build first; None to take the output as it is. management: of the controller, if there is one.
    listening: reloads what the node listens on.
    """

    def __init__(
        self,
        generations: Generations,
        executors: Executors,
        output: LogOutput,
        builds: BuildRuns | None,
        management: Management | None,
        listening: GatewayReloads | None = None,
    ) -> None:
        self._listening = listening
        self._generations, self._executors, self._output = generations, executors, output
        self._builds, self._management = builds, management
        self._newest: asyncio.Task[Reloaded] | None = None
        self._committed: asyncio.Task[object] | None = None
        self._with_apis: set[asyncio.Task[Reloaded]] = set()
        self.reloaded: Callable[[], None] = lambda: None
        """Called after each reload that was taken over."""
        self.ended: Callable[[str, float], None] = lambda *_: None
        """Called after each reload with reloaded, unchanged or refused, and the seconds that it took."""
        self._one_at_a_time = asyncio.Lock()

    async def reload(self, say: Callable[[str], None] = lambda _: None, apis: Sequence[ApiDocument] = ()) -> Reloaded:
        """Raises ReloadError. Logs one line either way. `say` is told, in a few words, what is about to take time.
        apis: to be stored with it, in one step.

        It cancels a reload under way that has not reached the engine: both callers then get the newer one's outcome.
        It waits for one that brings APIs, which the newer one would not store.
        """
        own = self._newest = asyncio.create_task(self._supersede(self._newest, say, apis), name="reload")
        if apis:
            self._with_apis.add(own)
            own.add_done_callback(self._with_apis.discard)
        while True:
            try:
                return await asyncio.shield(own)
            except asyncio.CancelledError:
                if not own.cancelled() or own is self._newest:  # who asked has gone, or the run ends
                    raise
                own = self._newest

    async def close(self) -> None:
        """Ends a reload that is under way, and what it has begun."""
        if self._newest is not None:
            self._newest.cancel()
            await asyncio.wait({self._newest})
        if self._builds is not None:
            await self._builds.close()

    async def _supersede(
        self, older: asyncio.Task[Reloaded] | None, say: Callable[[str], None], apis: Sequence[ApiDocument]
    ) -> Reloaded:
        if older is not None and older is not self._committed and older not in self._with_apis:
            older.cancel()
        async with self._one_at_a_time:
            return await self._logged(say, apis)

    async def _logged(self, say: Callable[[str], None], apis: Sequence[ApiDocument]) -> Reloaded:
        began, spent = time.monotonic(), PhaseTimes()
        try:
            (changed, listens), notes = await self._reload(say, spent, apis)
        except Exception as error:
            fault = [f"a fault of Gatewright's own: {error!r}"]
            refusal = error if isinstance(error, ReloadError) else ReloadError(fault)
            serving = self._executors.generation.number
            self._output.event(f"reload refused: {refusal}", "error", serving_generation=serving)
            self.ended("refused", time.monotonic() - began)
            raise refusal from error.__cause__ if refusal is error else error
        finally:
            self._committed = None
        generation, seconds = self._executors.generation.number, time.monotonic() - began
        names = tuple(api.name for api in apis)
        done = Reloaded(generation, seconds, notes, changed, spent.seconds, listens, names)
        self._say_done(done)
        self.ended(done.outcome, seconds)
        self.reloaded()
        return done

    def _say_done(self, done: Reloaded) -> None:
        parts = {part: f"{seconds:.2f}s" for part, seconds in done.spent.items()}
        what = {"changed": done.changed.policies, "restarted": done.changed.restarts, "kept": done.changed.keeps}
        said: dict[str, object] = {
            name: list(values) for name, values in (what | {"apis": done.apis}).items() if values
        }
        said |= {"generation": done.generation, "took": f"{done.seconds:.2f}s"} | parts
        if done.listens:
            said["listeners"] = "changed"
        self._output.event("nothing to reload" if done.outcome == "unchanged" else done.outcome, "info", **said)
        for note in done.notes:
            self._output.event(note, "warning")

    async def _reload(
        self, say: Callable[[str], None], spent: PhaseTimes, apis: Sequence[ApiDocument]
    ) -> tuple[Reload, tuple[str, ...]]:
        if apis and self._management is None:
            raise ReloadError([NO_CONTROLLER])
        gateway = await self._read_gateway(spent)
        changed, notes = await self._reload_policies(say, spent, apis)
        if gateway is None or self._listening is None:
            return (changed, False), notes
        say("changing listeners")
        self._commit()
        try:
            with spent.measure("gateway"):
                noted = await self._listening.apply(gateway)
        except GatewayRefusedError as error:
            done = ["the policies are reloaded, the listeners are not"] if changed else []
            raise ReloadError([*done, *error.reasons]) from error
        return (changed, True), (*notes, *noted)

    async def _read_gateway(self, spent: PhaseTimes) -> Prepared | None:
        """Another Gateway than the one that serves."""
        if self._listening is None:
            return None
        try:
            with spent.measure("gateway"):
                return await self._listening.prepare()
        except GatewayRefusedError as error:
            raise ReloadError(error.reasons) from error

    async def _reload_policies(
        self, say: Callable[[str], None], spent: PhaseTimes, apis: Sequence[ApiDocument]
    ) -> tuple[Difference, tuple[str, ...]]:
        noted = await self._build(say, spent)
        before = self._executors.generation
        with spent.measure("files"):
            fresh = await self._freeze(before)
        try:
            changed = difference(before.build, fresh.build)
            if changed:
                impact = await self._check_apis(changed, fresh, apis)
                say(f"starting new executors of {', '.join(changed.restarts)}" if changed.restarts else "taking over")
                superseded = impact.superseded
                await self._executors.switch_to(fresh, spent, self._commit, superseded=superseded)
        except (EngineRefusedError, StartError, DeployError) as error:
            self._generations.drop(fresh)
            raise ReloadError(str(error).splitlines()) from error
        except BaseException:
            self._generations.drop(fresh)
            raise
        if changed:
            self._generations.adopt(fresh)
        else:
            self._generations.drop(fresh)
        with spent.measure("controller"):
            notes = await (self._store_apis(apis, bool(changed)) if apis else self._tell_controller())
        return changed, (*noted, *fresh.notes, *notes)

    async def _build(self, say: Callable[[str], None], spent: PhaseTimes) -> list[str]:
        """The notes of the build."""
        if self._builds is None:
            return []

        def wait(what: str, seconds: float) -> None:
            self._output.event(f"the reload waits for the build: {what}", since=f"{seconds:.0f}s")
            say(f"{what} … {seconds:.0f} s")

        say("building")
        try:
            with spent.measure("build"):
                return await self._builds.build(say, wait)
        except BuildRefusedError as error:
            raise ReloadError(error.reasons) from error

    async def _freeze(self, before: Generation) -> Generation:
        freezing = asyncio.ensure_future(asyncio.to_thread(self._generations.next, before))
        try:
            return await asyncio.shield(freezing)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):  # who is cancelled has nothing more to say
                self._generations.drop(await freezing)
            raise
        except (GenerationError, BuildOutputError) as error:
            raise ReloadError(str(error).splitlines()) from error

    def _commit(self) -> None:
        self._committed = asyncio.current_task()

    async def _check_apis(self, changed: Difference, fresh: Generation, apis: Sequence[ApiDocument]) -> PolicyImpact:
        """What other definitions, and other APIs, mean to those that there are. Raises DeployError where an API could
        not go on with them."""
        if self._management is None or not (changed.definitions or apis):
            return PolicyImpact()
        return await self._management.check_policies(fresh.definitions, apis)

    async def _tell_controller(self) -> list[str]:
        """The new generation serves already: what goes wrong here is a note."""
        if self._management is None:
            return []
        try:
            return (await self._management.reload_policies()).notes
        except DeployError as error:
            return [f"the controller does not know the new policies: {error}"]

    async def _store_apis(self, apis: Sequence[ApiDocument], switched: bool) -> list[str]:
        """The notes on what became of them. Raises ReloadError where the controller does not take them after all.

        switched: whether a new generation serves already; a controller that is away is then asked again.
        """
        assert self._management is not None
        end = time.monotonic() + (STORE_SECONDS if switched else 0.0)
        while True:
            try:
                return (await self._management.reload_policies(apis)).notes
            except NoAnswerError as error:
                if time.monotonic() > end:
                    raise _not_stored(error, switched) from error
            except DeployError as error:
                raise _not_stored(error, switched) from error
            await asyncio.sleep(RETRY_SECONDS)


def _not_stored(error: DeployError, switched: bool) -> ReloadError:
    cure = "the policies are reloaded, the APIs are not: give the same command again"
    return ReloadError([*([cure] if switched else []), *str(error).splitlines()])
