"""Lists of secret names that stand in a Gateway: each name once."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_documents.mistake import Mistake, format_path, shown
from gatewright_documents.values import JsonObject

from gatewright_controller.model import RedactionDefaults
from gatewright_controller.resource.secret_names import SecretNameSet, plain_name
from gatewright_controller.validation.values import as_object, texts_of

LISTS = ("headers", "queryParameters", "fields")


def check_redaction(redaction: JsonObject) -> Iterator[Mistake]:
    """A name in a list and in that of the defaults is none."""
    places = [("spec.redaction", redaction), ("spec.redaction.defaults", as_object(redaction.get("defaults")))]
    for field, lists in places:
        for name in LISTS:
            yield from _check_twice(f"{field}.{name}", texts_of(lists.get(name)))


ANSWERED_URLS = ("location", "content-location", "refresh")


def check_fields(fields: JsonObject, redaction: JsonObject) -> Iterator[Mistake]:
    """Of the access log: none that is secret by its name."""
    defaults, own = RedactionDefaults(), as_object(redaction.get("defaults"))
    headers = SecretNameSet([*texts_of(own.get("headers", [*defaults.headers])), *texts_of(redaction.get("headers"))])
    names = SecretNameSet([*texts_of(own.get("fields", [*defaults.fields])), *texts_of(redaction.get("fields"))])
    for field, source in fields.items():
        if not isinstance(source, str):
            continue
        of, _, header = source.partition(":")
        inside = source.split(".")[1:] if source.startswith("analytics.") else []
        where = format_path(["spec", "accessLog", "fields", field])
        if (header and header in headers) or any(name in names for name in inside):
            cure = "remove it; what is secret is said by spec.redaction"
            yield Mistake.expecting("no field that is secret by its name", shown(source), cure, field=where)
        elif of == "responseHeader" and header.lower() in ANSWERED_URLS:
            expected = "a header without a URL, whose query may be secret"
            yield Mistake.expecting(expected, shown(source), "remove it", field=where)


def _check_twice(field: str, names: list[str]) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for at, name in enumerate(names):
        if before := seen.get(plain_name(name)):
            expected = "each name once, whatever its case, with or without - and _"
            got = f"{shown(name)} and {shown(before)}"
            yield Mistake.expecting(expected, got, "remove one of the two", field=f"{field}[{at}]")
        seen[plain_name(name)] = name
