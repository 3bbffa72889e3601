"""Named templates of prompts, and system prompts of the publisher, in requests to language models.

A request names a template, and gives values for its variables, in the place of its prompt:

    {"model": "m", "template": {"name": "translate", "variables": {"language": "French", "text": "Hello"}}}

The policy writes the template's messages as the shape of the request has them. Values are checked, and become a part of
a text: they cannot change the JSON, or the role of a message.

Limits. What a value asks the model to do is for prompt-guard. In completions and embeddings, which have one text and no
roles, the messages of a template are joined. Anthropic's messages and Gemini's contents have system prompts only before
the conversation: one that is put behind stands behind the others there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk import llm
from sdk.masking import read_json
from sdk.metrics import Counter
from sdk.policy import RequestAction, RequestContext, UpstreamRequestModifications

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from templating.shapes import PROMPTS, put_messages, put_system
    from templating.templates import RefusedError, Template, template_of, type_of
else:
    from .templating.shapes import PROMPTS, put_messages, put_system
    from .templating.templates import RefusedError, Template, template_of, type_of

Json = dict[str, Any]
REQUESTS = Counter(
    "prompt_template_requests_total", "Requests to models, by their template.", ["api", "template", "outcome"]
)
MEMBER = "template"
"""The member of a request that names its template."""
NO_PROMPTS: tuple[Any, ...] = (None, "", [])
"""Values of a prompt's members that are no prompt: clients of providers take no call without these members."""
NOTE = "prompt-template"
"""The key of the exchange's metadata: the template."""


@dataclass(frozen=True, slots=True)
class Prepared:
    templates: dict[str, Template]
    before: tuple[str, ...]
    behind: tuple[str, ...]


def prepare(params: Json) -> Prepared:
    templates = {name: template_of(name, template) for name, template in params["templates"].items()}
    if params["required"] and not templates:
        raise ValueError("templates: expected a template and more, since a request must name one, got none")
    if not templates and not params["system"]:
        raise ValueError("expected templates or system, got neither")
    return Prepared(templates, texts_at(params["system"], "before"), texts_at(params["system"], "behind"))


def texts_at(prompts: list[Json], at: str) -> tuple[str, ...]:
    return tuple(prompt["text"] for prompt in prompts if prompt.get("at", "before") == at)


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    prepared: Prepared = ctx.prepared
    route = llm.shape_of_path(ctx.path) if ctx.method == "POST" else None
    if route is None:
        refuses = params["unknownShapes"] == "refuse"
        return llm.problem(403, "the gateway lets only requests to language models pass") if refuses else None
    name = ""
    try:
        document = document_of(ctx.body or b"")
        if MEMBER in document:
            name = apply(prepared, route.shape, document)
        elif params["required"]:
            REQUESTS.inc(api=ctx.policy.api_name, template="", outcome="refused")
            known = ", ".join(sorted(prepared.templates))
            return llm.problem(403, f"expected a template, one of {known}, in the member {MEMBER}, got none")
        put_system(route.shape, document, prepared.before, prepared.behind)
    except RefusedError as error:
        REQUESTS.inc(api=ctx.policy.api_name, template=name, outcome="refused")
        return llm.problem(400, str(error))
    REQUESTS.inc(api=ctx.policy.api_name, template=name, outcome="applied")
    ctx.metadata[NOTE] = {"template": name}
    if not name and not prepared.before and not prepared.behind:
        return None
    return UpstreamRequestModifications(body=json.dumps(document, separators=(",", ":")))


def document_of(body: bytes) -> Json:
    """The request's document. RefusedError: it is none, or parsers differ about what it says."""
    try:
        document, has_duplicates = read_json(body.decode())
    except (ValueError, RecursionError):
        raise RefusedError("expected a JSON object in UTF-8, got something else") from None
    if not isinstance(document, dict):
        raise RefusedError(f"expected a JSON object, got {type_of(document)}")
    if has_duplicates:
        raise RefusedError("expected each member once, got a member twice in an object")
    return document


def apply(prepared: Prepared, shape: llm.Shape, document: Json) -> str:
    """Puts the template that the document names in place of its name. Returns the name. RefusedError: it does not
    fit."""
    reference = document.pop(MEMBER)
    if (
        not isinstance(reference, dict)
        or not isinstance(reference.get("name"), str)
        or {*reference} - {"name", "variables"}
    ):
        raise RefusedError(f'{MEMBER}: expected {{"name": NAME, "variables": {{…}}}}, got something else')
    template = prepared.templates.get(reference["name"])
    if template is None:
        known = ", ".join(sorted(prepared.templates)) or "none, since the API has no templates"
        raise RefusedError(f"{MEMBER}.name: expected one of {known}, got another name")
    for name in PROMPTS[shape]:
        if document.get(name) in NO_PROMPTS:
            document.pop(name, None)
    if beside := [name for name in PROMPTS[shape] if name in document]:
        raise RefusedError(f"{beside[0]}: expected no prompt beside a template, got one")
    put_messages(shape, document, template.render(reference.get("variables", {})))
    return template.name
