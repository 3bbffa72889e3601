"""`gatewright plan` and `gatewright apply`: what a set of documents would change, and the change, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gatewright_cli.api_files import ApiFile
from gatewright_cli.clients.controller_refusals import DeployError, InvalidError
from gatewright_cli.clients.management import DEPLOYED
from gatewright_cli.clients.plans import DELETED, STORED, ConflictError, Plan, ResourceSet, SourceText
from gatewright_cli.clients.resources import LONGEST_WAIT
from gatewright_cli.commands.apis.applying import Say, Target
from gatewright_cli.commands.apis.plan_report import differences, report_applied, report_plan, report_trial
from gatewright_cli.commands.apis.secret_files import with_values
from gatewright_cli.mistakes import ExitStatus

CHANGES = 2
"""What a plan with --exit-code exits with if there are any."""


@dataclass(frozen=True)
class Ownership:
    """What the options say of who applies a set."""

    owner: str = ""
    prune: bool = False
    take_over: bool = False

    @staticmethod
    def of(terms: Mapping[str, str], *, prune: bool) -> Ownership:
        """terms: those of a write."""
        return Ownership(terms.get("owner", ""), prune, "take_over" in terms)

    def resources(self, target: Target, documents: Iterable[ApiFile]) -> ResourceSet:
        """The set of these documents, for the target. Raises PreflightError for files of values that cannot be read."""
        moved = (target.with_echo(document) for document in documents)
        texts = (SourceText(str(document.path), document.content.decode(), document.above + 1) for document in moved)
        return ResourceSet(with_values(texts), self.owner, self.prune, self.take_over)


async def make_plan(target: Target, resources: ResourceSet, report_error: Say) -> Plan | ExitStatus:
    """The plan; the exit status if the controller refuses the set or does not answer, which is reported."""
    try:
        return await target.management.plan(resources)
    except DeployError as error:
        return report_refusal(error, resources, report_error)


def report_refusal(
    error: DeployError, resources: ResourceSet, report_error: Say, reviewed: Plan | None = None
) -> ExitStatus:
    """Reports why nothing was changed; reviewed: the plan that was to be applied. Returns what a command exits with."""
    if isinstance(error, InvalidError):
        files = tuple(source.file for source in resources.sources)
        for mistake in error.mistakes:
            report_error(str(mistake) if mistake.field.startswith(files) else f"error: {mistake}")
        return error.status
    report_error(f"error: {error}")
    if isinstance(error, ConflictError) and error.plan and reviewed:
        for line in differences(reviewed, error.plan):
            report_error(f"  {line}")
    return error.status


async def try_set(target: Target, resources: ResourceSet, say: Say, report_error: Say) -> ExitStatus:
    """Reports what `apply_set` would do, and changes nothing. DONE if the controller would take the set."""
    plan = await make_plan(target, resources, report_error)
    if isinstance(plan, ExitStatus):
        return plan
    report_trial(plan, say)
    return ExitStatus.DONE


async def plan_set(
    target: Target, resources: ResourceSet, say: Say, report_error: Say, *, diff: bool
) -> Plan | ExitStatus:
    """Reports the plan, and returns it; the exit status if the controller refuses the set or does not answer."""
    plan = await make_plan(target, resources, report_error)
    if isinstance(plan, Plan):
        report_plan(plan, say, diff=diff)
    return plan


async def apply_set(
    target: Target,
    resources: ResourceSet,
    seconds: float | None,
    say: Say,
    report_error: Say,
    *,
    reviewed: Plan | None = None,
) -> ExitStatus:
    """Applies the set and reports what has become of each resource. DONE if all were deployed in time.

    seconds: how long to wait for that; None: not at all. say: called with the outcome of each resource. report_error:
    called with each mistake, with file and line. reviewed: the plan that is applied, or refused.
    """
    wait = min(seconds or 0.0, LONGEST_WAIT)
    try:
        applied = await target.management.apply(resources, reviewed, wait)
    except DeployError as error:
        return report_refusal(error, resources, report_error, reviewed)
    report_applied(applied, say, waited=seconds is not None)
    settled = all(outcome.state in (DEPLOYED, DELETED, STORED) for outcome in applied.resources)
    return ExitStatus.DONE if seconds is None or settled else ExitStatus.NOT_DEPLOYED
