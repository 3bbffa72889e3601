"""Facts of the Go sources for the reference: the flags of a program, and structs that are encoded as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "gateway-runtime" / "policy-engine"
STRUCT = re.compile(r"((?:^//[^\n]*\n)*)^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r'^(?P<name>\w+)\s+(?P<type>\S.*?)\s+`json:"(?P<json>\w+)[^`]*`(?:\s*// (?P<said>.*))?$')
EMBEDDED = re.compile(r"^(?:\w+\.)?[A-Z]\w*$")
FLAG = re.compile(r'flags\.(\w+)\((?:[^,"]+, )?"([\w-]+)", (?:(.*?), )?"((?:[^"\\]|\\.)*)"\)')
ANSWERS = {"GET /stats": "Stats", "GET /chains": "Chain", "GET /executors": "Executors"}


@dataclass
class Struct:
    package: str
    name: str
    doc: str
    fields: list[Field] = field(default_factory=list)


@dataclass(frozen=True)
class Field:
    """`json` is empty for an embedded struct."""

    json: str
    type: str
    meaning: str


def statistics() -> str:
    """The page of what the engine counts."""
    known = dict(find())
    parts = [
        "# Statistics",
        "The policy engine answers on `engine-admin.sock` in the run directory, as JSON:",
        "    curl --unix-socket RUN/engine-admin.sock http://engine/stats",
        "A counter counts from the start of the engine.",
    ]
    for request, name in ANSWERS.items():
        parts += [f"## {request}", *section("admin", name, known, set())]
    return "\n\n".join([*parts, "*This page is made from the code.*"]) + "\n"


def section(package: str, name: str, known: dict[tuple[str, str], Struct], seen: set[tuple[str, str]]) -> Iterator[str]:
    """A struct's table, and below it those of the structs in it."""
    struct = known.get((package, name))
    if struct is None:
        raise SystemExit(f"reference: expected the struct {package}.{name} in {ENGINE}, found none")
    seen.add((package, name))
    doc = re.sub(rf"^{name} (is|are) ", "", struct.doc)
    yield doc[0].upper() + doc[1:]
    lines = ["| key | type | meaning |", "| --- | --- | --- |"]
    inner: list[tuple[str, tuple[str, str]]] = []
    for member in flatten(struct, known):
        target = struct_key(member.type, package, known)
        lines.append(f"| `{member.json}` | {type_in_words(member.type, target)} | {member.meaning} |")
        if target and target not in seen:
            inner.append((member.json, target))
    yield "\n".join(lines)
    for key, target in inner:
        if target not in seen:
            yield f"### `{key}`"
            yield from section(*target, known, seen)


def flatten(struct: Struct, known: dict[tuple[str, str], Struct]) -> Iterator[Field]:
    """The fields, with those of embedded structs."""
    for member in struct.fields:
        if member.json:
            yield member
        elif target := struct_key(member.type, struct.package, known):
            yield from flatten(known[target], known)


def struct_key(type_: str, package: str, known: dict[tuple[str, str], Struct]) -> tuple[str, str] | None:
    """The struct that a type is made of: `[]pythonbridge.ProcessStats` has (pythonbridge, ProcessStats)."""
    match = re.search(r"(?:(\w+)\.)?(\w+)$", type_)
    assert match
    key = (match[1] or package, match[2])
    return key if key in known else None


def type_in_words(type_: str, target: object) -> str:
    if type_.startswith("[]"):
        return "list of " + type_in_words(type_[2:], target)
    if keyed := re.match(r"map\[([\w.]+)\](.*)", type_):
        return "object of " + type_in_words(keyed[2], target)
    if target:
        return "object"
    kind = type_.lstrip("*")
    return "number" if re.match(r"u?int|float", kind) else {"bool": "boolean", "string": "text"}.get(kind, "text")


def find() -> Iterator[tuple[tuple[str, str], Struct]]:
    for file in sorted([*ENGINE.glob("internal/**/*.go"), *(ROOT / "sdk" / "go").rglob("*.go")]):
        if file.name.endswith("_test.go"):
            continue
        text = file.read_text()
        declared = re.search(r"^package (\w+)", text, re.MULTILINE)
        assert declared, file
        for doc, name, body in STRUCT.findall(text):
            sentence = " ".join(line.removeprefix("//").strip() for line in doc.splitlines())
            if fields := list(fields_of(body)):
                yield (declared[1], name), Struct(declared[1], name, sentence, fields)


def fields_of(body: str) -> Iterator[Field]:
    """A comment above a field belongs to it, as one behind it does."""
    above: list[str] = []
    for line in map(str.strip, body.splitlines()):
        if line.startswith("//"):
            above.append(line.removeprefix("//").strip())
        elif match := FIELD.match(line):
            yield Field(match["json"], match["type"], " ".join([*above, match["said"] or ""]).strip())
            above = []
        elif EMBEDDED.match(line):
            yield Field("", line, "")
        else:
            above = []


def named_value(name: str) -> str:
    """The value of a constant: `128 << 20`."""
    for file in ENGINE.rglob("*.go"):
        if match := re.search(rf"^(?:const |\t){name}\b[^=\n]*= (.*?)(?: //.*)?$", file.read_text(), re.MULTILINE):
            return match[1]
    return name


def flags(program: str) -> list[tuple[str, str, str]]:
    """Option, default and meaning of each flag of a FlagSet."""
    sources = [file.read_text() for file in ENGINE.rglob("*.go") if not file.name.endswith("_test.go")]
    (source,) = [text for text in sources if f'NewFlagSet("{program}"' in text]
    rows = []
    for kind, name, default, usage in FLAG.findall(source):
        quoted = re.search(r"`([^`]+)`", usage)
        metavar = f" `{quoted[1]}`" if quoted else ""
        default = "" if kind == "Var" else default.strip('"').replace("*time.Second", "s")
        value = named_value(default) if default.isalpha() else default
        rows.append((f"`--{name}`{metavar}".replace("|", "\\|"), f"`{value}`" if value else "", usage.replace("`", "")))
    return rows
