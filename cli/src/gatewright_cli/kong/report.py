"""What became of each field of a decK file: carried over, changed in meaning, or left out, with reason and cure.

Each value of the file has an entry. A value that no part of the importer has read is left out, and the report says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gatewright_documents.mistake import format_path
from gatewright_documents.values import JsonObject, JsonValue, KeyPath

from gatewright_cli.kong.source import Source

Outcome = Literal["carried", "changed", "left out"]
OUTCOMES: tuple[Outcome, ...] = ("carried", "changed", "left out")
MOST_NAMED = 5
UNKNOWN = "the importer does not know this field"
KINDS = {
    "services": "service", "routes": "route", "plugins": "plugin", "upstreams": "upstream", "targets": "target",
    "consumers": "consumer", "consumer_groups": "consumer group", "certificates": "certificate", "snis": "SNI",
    "ca_certificates": "CA certificate", "vaults": "vault", "keyauth_credentials": "key",
    "basicauth_credentials": "password", "jwt_secrets": "JWT key", "hmacauth_credentials": "HMAC key",
    "oauth2_credentials": "OAuth 2 client", "mtls_auth_credentials": "certificate of a client", "acls": "ACL group",
    "groups": "group", "filter_chains": "filter chain",
}  # fmt: skip
NAMES = ("name", "username", "custom_id", "target", "group", "id")
"""Fields that name an entity. None of them is a secret: a key is never named by itself."""


@dataclass(frozen=True)
class Entry:
    """One field, or a whole entity. field: its path in the file. entity: in words."""

    line: int
    field: str
    entity: str
    outcome: Outcome
    reason: str = ""
    cure: str = ""


@dataclass
class Report:
    """Findings by path. seen: fields that have been read."""

    source: Source
    seen: set[KeyPath] = field(default_factory=set)
    findings: dict[KeyPath, dict[tuple[Outcome, str, str], None]] = field(default_factory=dict)

    def changed(self, path: KeyPath, reason: str, cure: str = "") -> None:
        """The field is carried over with another meaning."""
        self._add(path, "changed", reason, cure)

    def left_out(self, path: KeyPath, reason: str, cure: str = "") -> None:
        """The field, or the entity with all its fields, is not carried over."""
        self._add(path, "left out", reason, cure)

    def _add(self, path: KeyPath, outcome: Outcome, reason: str, cure: str) -> None:
        self.findings.setdefault(_existing_path(self.source.value, path), {})[outcome, reason, cure] = None

    def entries(self) -> list[Entry]:
        """One for each finding, and one for each value of the file that has none, in the order of the file's lines."""
        entries = [self._entry(path, *finding) for path, findings in self.findings.items() for finding in findings]
        for path, value in _leaves(self.source.value):
            beginnings = [path[:end] for end in range(len(path), 0, -1)]
            if any(beginning in self.findings for beginning in beginnings):
                continue
            if value is None or any(beginning in self.seen for beginning in beginnings):
                entries.append(self._entry(path, "carried"))
            else:
                entries.append(self._entry(path, "left out", UNKNOWN, "see whether you need it"))
        return sorted(entries, key=lambda entry: (entry.line, entry.field))

    def _entry(self, path: KeyPath, outcome: Outcome, reason: str = "", cure: str = "") -> Entry:
        return Entry(
            self.source.line(path), format_path(path), entity_words(self.source.value, path), outcome, reason, cure
        )


def _existing_path(document: JsonObject, path: KeyPath) -> KeyPath:
    """The path, or for a field that the entity has by default the path of the field that names the entity."""
    value: JsonValue = document
    for end, step in enumerate(path):
        if isinstance(value, dict) and step not in value and value:
            return (*path[:end], next((key for key in NAMES if key in value), next(iter(value))))
        if not isinstance(value, dict | list) or not value:
            return path[:end]
        value = value[step]  # type: ignore[index]
    return path


def _leaves(value: JsonValue, path: KeyPath = ()) -> Iterator[tuple[KeyPath, JsonValue]]:
    """The values that hold no others; empty lists and objects too."""
    if isinstance(value, dict | list) and value:
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, step))
    elif path:
        yield path, value


def entity_words(document: JsonObject, path: KeyPath) -> str:
    """`service orders, route list` for the path of one of its fields; "the file" outside of all entities."""
    words, value = [], document
    for step, following in zip(path, (*path[1:], None), strict=True):
        value = value[step]  # type: ignore[index]
        if isinstance(step, str) and step in KINDS and isinstance(following, int):
            item = value[following]
            names = [item[key] for key in NAMES if isinstance(item, dict) and isinstance(item.get(key), str)]
            words.append(f"{KINDS[step]} {names[0] if names else following + 1}")
    return ", ".join(words) or "the file"


@dataclass(frozen=True)
class Results:
    """Names of what was made of a file. keys: how many."""

    apis: Sequence[str]
    plans: Sequence[str] = ()
    consumers: Sequence[str] = ()
    keys: int = 0
    secrets: Sequence[str] = ()

    def __str__(self) -> str:
        parts = [_counted(len(self.apis), "API")]
        others = ("Plan", len(self.plans)), ("Consumer", len(self.consumers)), ("key", self.keys)
        parts += [_counted(number, noun) for noun, number in others if number]
        return ", ".join([*parts, _counted(len(self.secrets), "secret")])


def count_outcomes(entries: Sequence[Entry]) -> dict[Outcome, int]:
    """How many entries have each outcome."""
    return {outcome: sum(entry.outcome == outcome for entry in entries) for outcome in OUTCOMES}


def report_text(entries: Sequence[Entry], results: Results, file: str) -> str:
    """The report for people: counts, then each reason once, with the entities and fields that it holds for."""
    counts = count_outcomes(entries)
    numbers = f"{_counted(counts['carried'], 'field')} carried over, {counts['changed']} changed in meaning"
    numbers += f", {counts['left out']} left out"
    lines = [f"{file}: {results}: {numbers}"]
    for outcome in ("changed", "left out"):
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in entries:
            if entry.outcome == outcome:
                groups.setdefault((entry.reason, entry.cure), []).append(entry)
        lines += [line for (reason, cure), members in groups.items() for line in _group(outcome, reason, cure, members)]
    return "".join(f"{line}\n" for line in lines)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _group(outcome: Outcome, reason: str, cure: str, members: Sequence[Entry]) -> Iterator[str]:
    yield f"{outcome}: {reason}" + (f"; {cure}" if cure else "")
    for entry in members[:MOST_NAMED]:
        yield f"  line {entry.line}: {entry.entity}: {entry.field.rpartition('].')[2] or entry.field}"
    if len(members) > MOST_NAMED:
        yield f"  and {len(members) - MOST_NAMED} more like these, all of them in the file of --report"


def report_document(entries: Sequence[Entry], results: Results, file: str) -> JsonObject:
    """The report for programs: all entries."""
    counts = count_outcomes(entries)
    return {
        "source": file,
        "apis": list(results.apis),
        "plans": list(results.plans),
        "consumers": list(results.consumers),
        "keys": results.keys,
        "secrets": list(results.secrets),
        "counts": {"carried": counts["carried"], "changed": counts["changed"], "leftOut": counts["left out"]},
        "entries": [
            {
                "line": entry.line, "entity": entry.entity, "field": entry.field,
                "outcome": "leftOut" if entry.outcome == "left out" else entry.outcome,
                **({"reason": entry.reason} if entry.reason else {}), **({"cure": entry.cure} if entry.cure else {}),
            }
            for entry in entries
        ],
    }  # fmt: skip
