"""`gatewright apply --reload`: what has changed of the build, and APIs, taken over by a run in one step, or neither."""

from __future__ import annotations

import asyncio

from gatewright_cli.commands.apply_apis import Say, Target, report_no_answer, report_refused, say_what_became, verb_of
from gatewright_cli.commands.reload_command import summary
from gatewright_cli.node.api_files import ApiFiles
from gatewright_cli.node.management import ApiDocument
from gatewright_cli.run import control


async def applied_with_reload(to: Target, files: ApiFiles, seconds: float | None, say: Say, report_error: Say) -> bool:
    """Has the run of `to` build and take the result over with the APIs. Whether it did, and all of them are deployed.

    The parameters are those of `apply_apis.applied`. Raises PreflightError where no run can be asked.
    """
    if files.refused:
        report_refused(files, report_error)
        report_error("error: nothing was changed: with --reload all APIs are applied, or none")
        return False
    return await report_no_answer(_apply(to, files, seconds, say, report_error), report_error)


async def _apply(to: Target, files: ApiFiles, seconds: float | None, say: Say, report_error: Say) -> bool:
    before = await to.management.apis()
    documents = [ApiDocument.of(to.reached_by(api)) for api in files.apis]
    answer = await asyncio.to_thread(
        control.reload, to.run_dir, lambda step: report_error(f"reload: {step}"), documents
    )
    for reason in answer.reasons:
        report_error(f"error: {reason}")
    if answer.reasons:
        return False
    for note in answer.notes:
        report_error(f"note: {note}")
    say(summary(answer))
    after = await to.management.apis()
    written = {document.name for document in documents} & after.keys()
    done = {name: verb_of(before.get(name), after[name]) for name in sorted(written)}
    return await say_what_became(to, done, seconds, say)
