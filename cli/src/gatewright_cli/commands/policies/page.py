"""Policies as text for a terminal: a list of them, and the page of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from gatewright.definition import Runtime
from gatewright_documents import definition_words
from gatewright_documents.definition_words import EACH, KEY, one_line, parameters, phases, together
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_writer import yaml_text

from gatewright_cli.commands.policies.known import STAND_IN, KnownPolicy
from gatewright_cli.exchanges.paint import Paint, cut, safe, wrap_words

WIDEST = 100
LINK = re.compile(r"\[([^]\[]+)\]\([^)\s]+\)")
SENTENCE_END = re.compile(r"(?<=[.!?:])\s")
RUNTIMES = {Runtime.GO: "Go", Runtime.PYTHON: "Python"}
HEADINGS = ("POLICY", "VERSION", "RUNTIME", "WHAT IT DOES")


def overview(policies: Sequence[KnownPolicy], paint: Paint) -> Iterator[str]:
    """A line for each policy: name, version, runtime, and the first sentence of what it does."""
    rows = [
        HEADINGS,
        *((policy.name, policy.version, RUNTIMES[policy.definition.runtime], _brief(policy)) for policy in policies),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    for number, (*cells, last) in enumerate(rows):
        line = "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), last]).rstrip()
        yield cut(line, paint.width) if number else paint.bold(cut(line, paint.width))


def summary(policy: KnownPolicy) -> JsonObject:
    """A line of `overview` as JSON."""
    return {
        "name": policy.name,
        "version": policy.version,
        "runtime": policy.definition.runtime,
        "displayName": policy.definition.display_name,
        "description": one_line(policy.definition.description),
    }


def page(policy: KnownPolicy, versions: Sequence[str], paint: Paint) -> Iterator[str]:
    """What a publisher of APIs has to know about a policy."""
    definition = policy.definition
    width = min(paint.width, WIDEST)
    title = f": {definition.display_name}" if definition.display_name else ""
    yield paint.bold(safe(f"{policy.name} {policy.version}{title}"))
    if definition.description:
        yield from ["", *wrap_words(_plain(definition.description), width)]
    yield ""
    yield from _facts(policy, versions, width)
    yield from _parameters("PARAMETERS", [], definition.parameters, paint)
    if definition.system_parameters:
        where = f"The operator sets them, in systemParameters under {policy.name}."
        yield from _parameters("SYSTEM PARAMETERS", [where], definition.system_parameters, paint)
    for example in policy.examples:
        yield from _example(example, paint)


def _facts(policy: KnownPolicy, versions: Sequence[str], width: int) -> Iterator[str]:
    definition = policy.definition
    facts = {
        "versions": ", ".join(versions),
        "runtime": RUNTIMES[definition.runtime],
        "sees": ", ".join(phases(definition)),
        "network": definition_words.network(definition),
        "files": definition_words.files(definition),
    }
    if not definition.allow_continue:
        facts["failures"] = "end the request: onError: continue is refused"
    column = max(map(len, facts)) + 2
    for name, fact in facts.items():
        first, *more = wrap_words(safe(fact), width - column)
        yield name.ljust(column) + first
        yield from (" " * column + line for line in more)


def _parameters(heading: str, notes: list[str], schema: Mapping[str, JsonValue], paint: Paint) -> Iterator[str]:
    described, width = list(parameters(schema)), min(paint.width, WIDEST)
    if rule := together(schema):
        notes = [*notes, f"Together: {rule}."]
    if any(step in parameter.path for parameter in described for step in (EACH, KEY)):
        notes = [*notes, f"{EACH} is each entry of a list, {KEY[1:]} each key of a map."]
    yield from ["", paint.bold(heading)]
    for note in notes if described else ["It has none."]:
        yield from (f"  {line}" for line in wrap_words(_plain(note), width - 2))
    for parameter in described:
        default = f"; default {parameter.default}" if parameter.default else ""
        summary = f"{parameter.kind}; required" if parameter.required else f"{parameter.kind}{default}"
        yield from ["", f"  {paint.bold(safe(parameter.path))}"]
        yield from (f"      {paint.dim(line)}" for line in wrap_words(safe(summary), width - 6))
        if parameter.description:
            yield from (f"      {line}" for line in wrap_words(_plain(parameter.description), width - 6))


def _example(example: JsonObject, paint: Paint) -> Iterator[str]:
    attachments = {"policies": example["attachments"]}
    yield from ["", paint.bold(f"EXAMPLE: {example['title']}")]
    if names := dict.fromkeys(STAND_IN.findall(str(attachments))):
        yield f"  Replace {', '.join(f'${name}' for name in names)} by your own."
    if secrets := example.get("secrets"):
        yield f"  The operator provides its secrets: {', '.join(secrets)}."
    yield ""
    yield from (f"  {line}" for line in yaml_text(attachments).splitlines())


def _brief(policy: KnownPolicy) -> str:
    words = _plain(policy.definition.description) or safe(policy.definition.display_name)
    return SENTENCE_END.split(words)[0].rstrip(":")


def _plain(markdown: str) -> str:
    """A description on one line, without its links, since a terminal does not have their targets."""
    return safe(LINK.sub(r"\1", one_line(markdown)))
