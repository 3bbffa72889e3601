"""Which exchanges are meant: the filter of docs/reference/recordings.md, from query parameters or from JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.strict import described, mistakes_of
from gatewright_documents.values import JsonObject, JsonValue
from msgspec import Meta

from gatewright_controller.model import Strict

STATUS = "^[1-5]([0-9]{2}|xx)$"
TOKEN = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # noqa: S105 - what HTTP calls a token
CLIENT = r"^([0-9A-Fa-f:.]*|[0-9.]+:[0-9]+|\[[0-9A-Fa-f:.]+\]:[0-9]+)$"
SHADOW = "^(different|same|failed|skipped)?$"
MOST_STATUSES = 32

Text = Annotated[str, Meta(max_length=4096)]
Status = Annotated[str, described("a status such as '503', or a class of them such as '5xx'", "", STATUS)]


class HeaderFilter(Strict, frozen=True):
    """A header of the request as the client sent it; without a value it must be there, whatever it says."""

    name: Annotated[Text, described("a header's name, such as 'x-user'", "", TOKEN)]
    value: Text | None = None


class ExchangeFilter(Strict, frozen=True):
    """An exchange is meant where all members fit; one that is left out says nothing."""

    api: Text = ""
    operation: Text = ""
    policy: Text = ""
    path: Annotated[Text, described("the beginning of a path, such as '/orders'", "", "^(/[^?#]*)?$")] = ""
    header: Annotated[HeaderFilter | None, described("an object with name and value", "")] = None
    status: Status | Annotated[tuple[Status, ...], Meta(max_length=MOST_STATUSES)] = ()
    errors: bool = False
    shadow: Annotated[str, described("different, same, failed or skipped", "", SHADOW)] = ""
    """An execution of a shadow attachment has ended so."""
    id: Text = ""
    client: Annotated[Text, described("an address such as '10.1.2.3' or '[::1]:40112'", "", CLIENT)] = ""
    sample: Annotated[float, described("a share from 0 to 1", ""), Meta(ge=0, le=1)] = 1.0

    def encoded(self) -> bytes:
        """As nodes are given it."""
        if self.header is None:
            return msgspec.json.encode(self)
        header = HeaderFilter(name=self.header.name.lower(), value=self.header.value)
        return msgspec.json.encode(msgspec.structs.replace(self, header=header))


MEMBERS = tuple(field.name for field in msgspec.structs.fields(ExchangeFilter))


def from_query(parameters: Sequence[tuple[str, str]]) -> ExchangeFilter:
    """The filter of query parameters, which go by the names of its members. Raises `Invalid`.

    `header` is NAME or NAME=VALUE; `status` may stand several times, or have several, joined by commas.
    """
    document: JsonObject = {}
    mistakes: list[Mistake] = []
    for name, text in parameters:
        if name == "status":
            document.setdefault(name, []).extend(text.split(","))
        elif name in document:
            mistakes.append(Mistake.expecting("one value", "several", "leave one out", field=name))
        else:
            document[name] = _value(name, text)
    mistakes += mistakes_of(ExchangeFilter, document)
    if mistakes:
        raise Invalid(mistakes)
    return msgspec.convert(document, ExchangeFilter)


def _value(name: str, text: str) -> JsonValue:
    """As it would stand in JSON; what does not fit stays a text, and is refused as one."""
    match name:
        case "header":
            header, equals, value = text.partition("=")
            return {"name": header, "value": value} if equals else {"name": header}
        case "errors":
            return {"true": True, "false": False}.get(text, text)
        case "sample":
            with contextlib.suppress(ValueError):
                return float(text)
    return text
