"""A page for each policy that ships, made from its definition and its examples.

e2e/policies/test_shipped_policies.py does the examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import yaml
from gatewright.definition import PolicyDefinition, Runtime
from gatewright_cli.commands.policies.known import STAND_IN
from gatewright_documents import definition_words
from gatewright_documents.definition_words import one_line, phases, together

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"
COSTS = ROOT / "bench" / "shipped.md"
"""The output of `python -m bench shipped`, if there is one."""
MADE = "*This page is made from `policies/{}`.*"
MEASURED = (
    "CPU of a request, of all of the gateway's processes, each policy alone on its route at 64 connections.\n"
    "The last column is what that is more than with a policy of the same language which sets one header, "
    "in requests of plain Envoy, measured in the same rounds: the median, and the range.\n"
    "Behind a `*`, other processes disturbed a sample; `python -m bench shipped` measures it on your machine."
)
URL = "http://127.0.0.1:8080/sample"
PIPE = "\\|"
"""As a cell of a table has it."""
Json = dict[str, Any]


def pages(costs: Path = COSTS) -> dict[str, str]:
    """File name to Markdown: one for each policy, and one that lists them, with their cost where it was measured."""
    policies = {folder.name: read(folder) for folder in folders()}
    rows = [
        f"| [`{name}`](policy-{name}.md) | {one_line(definition['description'])} |"
        for name, (definition, _) in policies.items()
    ]
    index = "\n".join(["# Policies that ship", "", "| policy | |", "| --- | --- |", *rows])
    return {"policies-that-ship.md": "\n\n".join([index, *cost_section(costs)]) + "\n"} | {
        f"policy-{name}.md": page(name, definition, examples) for name, (definition, examples) in policies.items()
    }


def folders() -> list[Path]:
    return sorted(path.parent for path in POLICIES.glob("*/policy-definition.yaml"))


def read(folder: Path) -> tuple[Json, list[Json]]:
    definition = yaml.safe_load((folder / "policy-definition.yaml").read_text())
    return definition, yaml.safe_load((folder / "example.yaml").read_text())


def cost_section(costs: Path) -> Iterator[str]:
    """The section of figures, where there are any. ValueError: the file has no table."""
    if not costs.exists():
        return
    figures = costs.read_text().strip()
    if "\n| --- |" not in f"\n{figures}":
        raise ValueError(f"{costs}: expected the table that `python -m bench shipped` prints, got {figures[:80]!r}")
    yield "## What they cost"
    yield MEASURED
    yield figures


def page(name: str, document: Json, examples: list[Json]) -> str:
    definition = PolicyDefinition.from_document(document)
    language = "Go" if definition.runtime is Runtime.GO else "Python"
    parts = [
        f"# {name}",
        one_line(definition.description),
        f"`{name}:{definition.version}`, in {language}; it sees {', '.join(phases(definition))}.",
        f"Network: {definition_words.network(definition)}. Files: {definition_words.files(definition)}.",
        "## Parameters",
        parameters(document.get("parameters", {})),
        *operators(name, document.get("systemParameters", {})),
        *(part for example in examples for part in example_section(example)),
        MADE.format(name),
    ]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------- parameters


def operators(name: str, schema: Json) -> Iterator[str]:
    """The section of what the operator sets, where there is anything."""
    if schema:
        yield "## What the operator sets"
        yield f"In `systemParameters`, under `{name}`: see [Operating](../how-to/operations.md)."
        yield parameters(schema)


def parameters(schema: Json) -> str:
    rows = list(map(row, definition_words.parameters(schema, code)))
    if not rows:
        return "It has none."
    rule = [f"Together: {rule}.", ""] if (rule := together(schema, code)) else []
    return "\n".join([*rule, "| parameter | | default | |", "| --- | --- | --- | --- |", *rows])


def row(parameter: definition_words.Parameter) -> str:
    default = "required" if parameter.required else parameter.default and code(parameter.default)
    cells = (code(parameter.path), parameter.kind, default, parameter.description)
    return f"| {' | '.join(cell.replace('|', PIPE) for cell in cells)} |".replace("  ", " ")


def code(value: object) -> str:
    """Between backticks, of which there are more than in the value."""
    text = str(value)
    fence = "``" if "`" in text else "`"
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


# ---------------------------------------------------------------- examples


def example_section(example: Json) -> Iterator[str]:
    yield f"## {example['title']}"
    if paths := example.get("paths"):
        yield f"With operations at {', '.join(f'`{path}`' for path in paths)}:"
    if secrets := example.get("secrets"):
        listing = ", ".join(f"`{name}` (`{value}`)" for name, value in secrets.items())
        yield f"With these [secrets](../how-to/secrets.md) of the operator's: {listing}."
    if names := dict.fromkeys(STAND_IN.findall(json.dumps(example))):
        yield f"Replace {', '.join(f'`${name}`' for name in names)} by your own."
    attachments = yaml.safe_dump({"policies": example["attachments"]}, sort_keys=False, width=110)
    yield f"```yaml\n{attachments.rstrip()}\n```"
    for request in example["requests"]:
        yield request["says"]
        yield "\n".join(["```sh", command(request), "```"])
        yield describe_answer(request)


def command(request: Json) -> str:
    words = ["curl", "-i"]
    if (method := request.get("method", "GET")) != "GET":
        words += ["-X", method]
    for name, value in request.get("headers", {}).items():
        words += ["-H", f"{name}: {value}"]
    if "body" in request:
        words += ["-d", request["body"]]
    return " ".join(map(quote_word, [*words, URL + request.get("path", "/")]))


def quote_word(word: str) -> str:
    """As a shell takes it, which puts in what variables say that have the names of stand-ins."""
    return f'"{word}"' if STAND_IN.search(word) and not re.search(r'["\\`]', word) else quote(word)


def describe_answer(request: Json) -> str:
    answer, upstream = request["answer"], request.get("upstream", {})
    lines = [f"- The client gets {answer['status']}."]
    lines += [
        f"- Its header `{name}` is `{value}`." if value is not None else f"- It has no header `{name}`."
        for name, value in answer.get("headers", {}).items()
    ]
    if "body" in answer:
        lines.append(f"- Its body is `{answer['body']}`.")
    if upstream is False:
        return "\n".join([*lines, "- Upstream is not asked."])
    lines += [
        f"- Upstream is sent `{name}: {value}`." if value is not None else f"- Upstream is sent no `{name}`."
        for name, value in upstream.get("headers", {}).items()
    ]
    lines += [f"- Upstream is sent {name} `{upstream[name]}`." for name in ("target", "body") if name in upstream]
    return "\n".join(lines)
