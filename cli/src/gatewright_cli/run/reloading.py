"""A reload: build → freeze → check with the controller → take over → have the controller reload.

A refused reload changes nothing. A reload may include documents of APIs (`gatewright apply --reload`): the controller
checks the definitions with these instead of the stored ones, and stores them in its reload.

If definitions change, the controller first checks that each API can go on with them. The changed policies stay in the
old executors, which drain; once the new executors serve, the controller deploys the APIs again, and the node replaces
them as in any other change of an API.
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
from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError
from gatewright_cli.clients.engine_admin import EngineRefusedError
from gatewright_cli.clients.management import ApiDocument, Management, PolicyImpact
from gatewright_cli.node.executors.replacement import Executors
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.run.gateway_reloading import GatewayRefusedError, GatewayReloads, Prepared
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import StartError

STORE_SECONDS = 20.0
"""How long storing APIs is retried while the controller gives no answer, after their policies run already."""
RETRY_SECONDS = 0.5
NO_CONTROLLER = "the run has no controller to take APIs: start it without --no-controller, or use `gatewright reload`"

Reload = tuple[Difference, bool]
"""What has changed in the build, and whether the listeners have."""


class ReloadError(Exception):
    """The reload was refused, and the present generation stays: `reasons` has a sentence for each mistake."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class Reloaded:
    """The result of a reload: the generation that serves now, the duration, and notes on what needs a restart.

    changed: the differences of the builds. spent: seconds by phase of the reload. listens: whether the listeners
    changed. apis: names of the APIs of the reload.
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

    builds: makes the build first; None to use the output as it is. management: of the controller, if there is one.
    listening: reloads the Gateway.
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
        """Called after each successful reload."""
        self.ended: Callable[[str, float], None] = lambda *_: None
        """Called after each reload with its outcome (reloaded, unchanged or refused) and its seconds."""
        self._one_at_a_time = asyncio.Lock()

    async def reload(self, say: Callable[[str], None] = lambda _: None, apis: Sequence[ApiDocument] = ()) -> Reloaded:
        """Reloads, and logs one line for the outcome. Raises ReloadError. say: called, in a few words, with each step.
        apis: to be stored in the same step.

        A running reload that has not reached the engine is cancelled: both callers then get the newer one's outcome.
        A running reload with APIs is waited for, since the newer one would not store them.
        """
        own = self._newest = asyncio.create_task(self._supersede(self._newest, say, apis), name="reload")
        if apis:
            self._with_apis.add(own)
            own.add_done_callback(self._with_apis.discard)
        while True:
            try:
                return await asyncio.shield(own)
            except asyncio.CancelledError:
                if not own.cancelled() or own is self._newest:  # the caller was cancelled, or the run ends
                    raise
                own = self._newest

    async def close(self) -> None:
        """Cancels a running reload and its build."""
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
            return await self._reload_and_log(say, apis)

    async def _reload_and_log(self, say: Callable[[str], None], apis: Sequence[ApiDocument]) -> Reloaded:
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
        self._log_done(done)
        self.ended(done.outcome, seconds)
        self.reloaded()
        return done

    def _log_done(self, done: Reloaded) -> None:
        parts = {part: f"{seconds:.2f}s" for part, seconds in done.spent.items()}
        changes = {"changed": done.changed.policies, "restarted": done.changed.restarts, "kept": done.changed.keeps}
        fields: dict[str, object] = {
            name: list(values) for name, values in (changes | {"apis": done.apis}).items() if values
        }
        fields |= {"generation": done.generation, "took": f"{done.seconds:.2f}s"} | parts
        if done.listens:
            fields["listeners"] = "changed"
        self._output.event("nothing to reload" if done.outcome == "unchanged" else done.outcome, "info", **fields)
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
                gateway_notes = await self._listening.apply(gateway)
        except GatewayRefusedError as error:
            done = ["the policies are reloaded, the listeners are not"] if changed else []
            raise ReloadError([*done, *error.reasons]) from error
        return (changed, True), (*notes, *gateway_notes)

    async def _read_gateway(self, spent: PhaseTimes) -> Prepared | None:
        """The new Gateway, if it differs from the present one."""
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
        build_notes = await self._build(say, spent)
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
        try:
            with spent.measure("controller"):
                notes = await (self._store_apis(apis, bool(changed)) if apis else self._reload_controller())
        except BaseException:
            await self._executors.finish(0.0)
            raise
        await self._executors.finish()
        return changed, (*build_notes, *fresh.notes, *notes)

    async def _build(self, say: Callable[[str], None], spent: PhaseTimes) -> list[str]:
        """Builds, and returns the notes."""
        if self._builds is None:
            return []

        def wait(step: str, seconds: float) -> None:
            self._output.event(f"the reload waits for the build: {step}", since=f"{seconds:.0f}s")
            say(f"{step} … {seconds:.0f} s")

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
            with contextlib.suppress(Exception):  # a cancelled reload reports no error
                self._generations.drop(await freezing)
            raise
        except (GenerationError, BuildOutputError) as error:
            raise ReloadError(str(error).splitlines()) from error

    def _commit(self) -> None:
        self._committed = asyncio.current_task()

    async def _check_apis(self, changed: Difference, fresh: Generation, apis: Sequence[ApiDocument]) -> PolicyImpact:
        """The effect of new definitions and APIs on stored APIs. Raises DeployError if an API could not go on."""
        if self._management is None or not (changed.definitions or apis):
            return PolicyImpact()
        return await self._management.check_policies(fresh.definitions, apis)

    async def _reload_controller(self) -> list[str]:
        """Has the controller reload the definitions. A failure is a note, since the new generation serves already."""
        if self._management is None:
            return []
        try:
            return (await self._management.reload_policies()).notes
        except DeployError as error:
            return [f"the controller does not know the new policies: {error}"]

    async def _store_apis(self, apis: Sequence[ApiDocument], switched: bool) -> list[str]:
        """Has the controller store the APIs, and returns its notes. Raises ReloadError if it refuses them.

        switched: whether a new generation serves already; without an answer of the controller it is then asked again.
        """
        assert self._management is not None
        end = time.monotonic() + (STORE_SECONDS if switched else 0.0)
        while True:
            try:
                return (await self._management.reload_policies(apis)).notes
            except NoAnswerError as error:
                if time.monotonic() > end:
                    raise _not_stored_error(error, switched) from error
            except DeployError as error:
                raise _not_stored_error(error, switched) from error
            await asyncio.sleep(RETRY_SECONDS)


def _not_stored_error(error: DeployError, switched: bool) -> ReloadError:
    cure = "the policies are reloaded, the APIs are not: give the same command again"
    return ReloadError([*([cure] if switched else []), *str(error).splitlines()])
