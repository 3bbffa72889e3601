"""A page for each policy that ships, made from its definition and its examples.

e2e/test_shipped_policies.py does the examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"
COSTS = ROOT / "bench" / "shipped.md"
"""What `python -m bench shipped` has printed; there may be none."""
MADE = "*This page is made from `policies/{}`.*"
MEASURED = (
    "CPU of a request, of all of the gateway's processes, each policy alone on its route at 64 connections.\n"
    "The last column is what that is more than with a policy of the same language which sets one header, "
    "in requests of plain Envoy, measured in the same rounds: the median, and the range.\n"
    "Behind a `*`, other processes disturbed a sample; `python -m bench shipped` measures it on your machine."
)
LIMITS = {
    "pattern": "matches `{}`", "minimum": "at least {}", "maximum": "at most {}", "minLength": "at least {} characters",
    "maxLength": "at most {} characters", "minItems": "at least {} entries", "maxItems": "at most {} entries",
    "const": "`{}`",
}  # fmt: skip
LONG = "x" * 40  # a pattern of that length tells people nothing
URL = "http://127.0.0.1:8080/sample"
STAND_IN = re.compile(r"\$([A-Z][A-Z_]+)\b")
"""What an example's counterpart gives a value, such as `$ISSUER`."""
Json = dict[str, Any]


def pages(costs: Path = COSTS) -> dict[str, str]:
    """File name to Markdown: one for each policy, and one that lists them, with what they cost where that is known."""
    named = {folder.name: read(folder) for folder in folders()}
    rows = [f"| [`{name}`](policy-{name}.md) | {text(found['description'])} |" for name, (found, _) in named.items()]
    listed = "\n".join(["# Policies that ship", "", "| policy | |", "| --- | --- |", *rows])
    return {"policies-that-ship.md": "\n\n".join([listed, *measured(costs)]) + "\n"} | {
        f"policy-{name}.md": page(name, definition, examples) for name, (definition, examples) in named.items()
    }


def folders() -> list[Path]:
    return sorted(path.parent for path in POLICIES.glob("*/policy-definition.yaml"))


def read(folder: Path) -> tuple[Json, list[Json]]:
    definition = yaml.safe_load((folder / "policy-definition.yaml").read_text())
    return definition, yaml.safe_load((folder / "example.yaml").read_text())


def measured(costs: Path) -> Iterator[str]:
    """The section of figures, where there are any. ValueError: the file has no table."""
    if not costs.exists():
        return
    figures = costs.read_text().strip()
    if "\n| --- |" not in f"\n{figures}":
        raise ValueError(f"{costs}: expected the table that `python -m bench shipped` prints, got {figures[:80]!r}")
    yield "## What they cost"
    yield MEASURED
    yield figures


def page(name: str, definition: Json, examples: list[Json]) -> str:
    mode = definition["processingMode"]
    phases = [words for key, words in PHASES.items() if mode[key] != "SKIP"]
    parts = [
        f"# {name}",
        text(definition["description"]),
        f"`{name}:{definition['version']}`, in {'Go' if definition['runtime'] == 'go' else 'Python'}; "
        f"it sees {', '.join(phases)}.",
        "## Parameters",
        parameters(definition.get("parameters", {})),
        *operators(name, definition.get("systemParameters", {})),
        *(part for example in examples for part in shown(example)),
        MADE.format(name),
    ]
    return "\n\n".join(parts) + "\n"


PHASES = {
    "requestHeaderMode": "the request's headers",
    "requestBodyMode": "its body",
    "responseHeaderMode": "the response's headers",
    "responseBodyMode": "the response's body",
}


# ---------------------------------------------------------------- parameters


def operators(name: str, schema: Json) -> Iterator[str]:
    """The section of what the operator sets, where there is anything."""
    if schema:
        yield "## What the operator sets"
        yield f"In `systemParameters`, under `{name}`: see [Operating](../how-to/operations.md)."
        yield parameters(schema)


def parameters(schema: Json) -> str:
    found = list(rows(schema, schema, ""))
    if not found:
        return "It has none."
    return "\n".join(["| parameter | | default | |", "| --- | --- | --- | --- |", *found])


def rows(schema: Json, root: Json, before: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, given in schema.get("properties", {}).items():
        field = resolved(given, root)
        path = f"{before}{name}"
        default = "required" if name in required else f"`{json.dumps(field['default'])}`" if "default" in field else ""
        yield f"| `{path}` | {kind(field, root)} | {default} | {text(field.get('description', ''))} |".replace(
            "  ", " "
        )
        inner = resolved(field.get("items", {}), root) if field.get("type") == "array" else field
        yield from rows(inner, root, f"{path}[]." if inner is not field else f"{path}.")


def kind(field: Json, root: Json) -> str:
    """What a value may be, in words."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    types = field.get("type", "any")
    words = [types if isinstance(types, str) else " or ".join(types)]
    if field.get("type") == "array":
        inner = resolved(field.get("items", {}), root)
        words = [f"list of {'objects' if inner.get('type') == 'object' else kind(inner, root)}"]
    words += [
        said.format(cell(field[name])) for name, said in LIMITS.items() if len(str(field.get(name, LONG))) < len(LONG)
    ]
    return ", ".join(words)


def resolved(field: Json, root: Json) -> Json:
    """With what its `$ref` names."""
    name = field.get("$ref", "").removeprefix("#/$defs/")
    return {**root["$defs"][name], **field} if name else field


def text(words: str) -> str:
    return " ".join(words.split())


def cell(value: object) -> str:
    return str(value).replace("|", "\\|")


# ---------------------------------------------------------------- examples


def shown(example: Json) -> Iterator[str]:
    yield f"## {example['title']}"
    if paths := example.get("paths"):
        yield f"With operations at {', '.join(f'`{path}`' for path in paths)}:"
    if secrets := example.get("secrets"):
        named = ", ".join(f"`{name}` (`{value}`)" for name, value in secrets.items())
        yield f"With these [secrets](../how-to/secrets.md) of the operator's: {named}."
    if names := dict.fromkeys(STAND_IN.findall(json.dumps(example))):
        yield f"Put your own in the place of {', '.join(f'`${name}`' for name in names)}."
    attachments = yaml.safe_dump({"policies": example["attachments"]}, sort_keys=False, width=110)
    yield f"```yaml\n{attachments.rstrip()}\n```"
    for request in example["requests"]:
        yield request["says"]
        yield "\n".join(["```sh", command(request), "```"])
        yield answered(request)


def command(request: Json) -> str:
    words = ["curl", "-i"]
    if (method := request.get("method", "GET")) != "GET":
        words += ["-X", method]
    for name, value in request.get("headers", {}).items():
        words += ["-H", f"{name}: {value}"]
    if "body" in request:
        words += ["-d", request["body"]]
    return " ".join(map(quoted, [*words, URL + request.get("path", "/")]))


def quoted(word: str) -> str:
    """As a shell takes it, which puts in what variables say that have the names of stand-ins."""
    return f'"{word}"' if STAND_IN.search(word) and not re.search(r'["\\`]', word) else quote(word)


def answered(request: Json) -> str:
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
