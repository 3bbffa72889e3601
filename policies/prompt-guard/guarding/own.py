"""The place for checks of your own. Copy the folder of prompt-guard under another name, and write them here:
docs/how-to/guardrails.md has an example, and says what else to change.

`judge` sees each request to a model before it goes on. `RULES` are searched in requests and in answers, also while they
stream, with the rules of `deny`; make them by `compile_rules`, of entries like those of `deny`.
"""

from __future__ import annotations

from sdk.llm import LlmRequest
from sdk.policy import RequestContext

from .rules import Rule

RULES: tuple[Rule, ...] = ()


async def judge(request: LlmRequest, ctx: RequestContext) -> str | None:  # noqa: ARG001 - the author uses them
    """Returns the name of what the request must not have, under which it is refused and counted; None lets it pass.
    What it raises fails the policy, and `onError` decides."""
    return None
