"""`gatewright apply --reload`: a run takes over the changes of the build and the APIs in one step, or neither."""

from __future__ import annotations

import asyncio

from gatewright_cli.api_files import ApiFiles
from gatewright_cli.clients.management import ApiDocument
from gatewright_cli.commands.apis.applying import (
    Say,
    Target,
    report_no_answer,
    report_outcomes,
    report_refused,
    verb_of,
)
from gatewright_cli.commands.reload_summary import summary
from gatewright_cli.mistakes import ExitStatus
from gatewright_cli.run import control


async def apply_with_reload(
    target: Target, files: ApiFiles, terms: dict[str, str], seconds: float | None, say: Say, report_error: Say
) -> ExitStatus:
    """Has the run of the target build, and take over the result together with the APIs. DONE if it did, and all APIs
    are deployed.

    terms: of the write. The other parameters are those of `planning.apply_set`. Raises PreflightError if the run
    cannot be asked.
    """
    if files.refused:
        report_refused(files, report_error)
        report_error("error: nothing was changed: with --reload all APIs are applied, or none")
        return ExitStatus.FAILED
    return await report_no_answer(_apply(target, files, terms, seconds, say, report_error), report_error)


async def _apply(
    target: Target, files: ApiFiles, terms: dict[str, str], seconds: float | None, say: Say, report_error: Say
) -> ExitStatus:
    before = await target.management.apis()
    documents = [ApiDocument.of(target.with_echo(api), terms) for api in files.apis]
    answer = await asyncio.to_thread(
        control.reload, target.run_dir, lambda step: report_error(f"reload: {step}"), documents
    )
    for reason in answer.reasons:
        report_error(f"error: {reason}")
    if answer.reasons:
        return ExitStatus.FAILED
    for note in answer.notes:
        report_error(f"note: {note}")
    say(summary(answer))
    after = await target.management.apis()
    written = {document.name for document in documents} & after.keys()
    verbs = {name: verb_of(before.get(name), after[name]) for name in sorted(written)}
    return await report_outcomes(target, verbs, seconds, say)
