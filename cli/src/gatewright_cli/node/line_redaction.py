"""Secrets taken out of log lines, by the list of names that the Gateway has (spec.redaction).

All lines of a node pass here, whoever wrote them. One without anything that may be a secret is looked at once, by RE2,
and passes as it is; another one is read, redacted value by value, and written anew.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

import msgspec
import re2
from gatewright_controller.resource.secret_names import REDACTED, SecretNameSet

JWT = r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"
CREDENTIALS = r"(?i)\b(bearer|dpop|negotiate|basic)((?:\s|%20|\+)+)([A-Za-z0-9._~+/=-]{6,})"
USERINFO = r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s\"'<>\\]*@"
PARAMETER = r"([?&;#]([^=&;?#\s\"'<>\\]+)=)[^&;#\s\"'<>\\]*"
ASSIGNMENT = r"\b([A-Za-z][A-Za-z0-9_-]{0,63})(?:[\"']?[ \t]*[:=][ \t]*|',[ \t]*(?='))"
"""NAME=, NAME:, and as Envoy writes headers, 'NAME', 'VALUE'."""
ODD_PARAMETER = r"[?&;][^=&;#\s\"]*[%\[.][^=&;#\s\"]*="
"""One whose name is encoded, or has parts."""
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?", re.DOTALL)
BARE = re.compile(r"[^\s,;&\"'<>{}\[\]()]+")
LINE_REST = re.compile(r"[^\r\n\"']+")
STANDARD = ("time", "level", "component")


class SecretNames(msgspec.Struct, frozen=True, rename="camel"):
    """The list of a Gateway."""

    headers: tuple[str, ...] = ()
    query_parameters: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


class LineRedaction:
    """By one list."""

    def __init__(self, names: SecretNames) -> None:
        headers, parameters, fields = names.headers, names.query_parameters, names.fields
        self._headers, self._parameters, self._fields = map(SecretNameSet, (headers, parameters, fields))
        named = "|".join(sorted(map(_spelled, {*headers, *fields, *parameters})))
        assigned = rf"(?i)(?:{named})\\?[\"']?\s*(?:[:=]|,\s*')" if named else "[^\\s\\S]"
        options = re2.Options()
        options.max_mem = 64 << 20
        parts = ["eyJ", CREDENTIALS, '://[^/"]*@', ODD_PARAMETER, assigned]
        self._suspicious = re2.compile("|".join(parts).encode(), options)

    def __call__(self, line: bytes) -> bytes:
        """The line as it may be shown; JSON stays JSON."""
        if self._suspicious.search(line) is None:
            return line
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self.text(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        shown = {key: value if key in STANDARD else self._member(key, value) for key, value in fields.items()}
        return line if shown == fields else msgspec.json.encode(shown)

    def text(self, text: str) -> str:
        """Free text without tokens, credentials, users of URLs, secret parameters, and what stands behind a name."""
        text = re.sub(JWT, REDACTED, text)
        text = re.sub(CREDENTIALS, _credential, text)
        text = re.sub(USERINFO, rf"\1{REDACTED}@", text)
        text = re.sub(PARAMETER, self._parameter, text)
        return self._assignments(text)

    def _member(self, name: str, value: Any) -> Any:
        if name in self._headers or name in self._fields:
            return REDACTED
        return self._value(value)

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {str(key): self._member(str(key), one) for key, one in value.items()}
            case list():
                return [self._value(one) for one in value]
        return value

    def _parameter(self, found: re.Match[str]) -> str:
        """Also one of an object or a list: user[token], user.token, token[]."""
        name = unquote_plus(found[2])
        parts = [name, *filter(None, re.split(r"[\[\].]", name))]
        return f"{found[1]}{REDACTED}" if any(part in self._parameters for part in parts) else found[0]

    def _assignments(self, text: str) -> str:
        shown, at = [], 0
        for found in re.finditer(ASSIGNMENT, text):
            header = found[1] in self._headers
            if found.start() < at or not (header or found[1] in self._fields):
                continue
            end = _value_end(text, found.end(), to_end_of_line=header)
            if end == found.end() or text.startswith(REDACTED, found.end()):
                continue
            shown += [text[at : found.end()], REDACTED]
            at = end
        return "".join([*shown, text[at:]])


def _value_end(text: str, at: int, *, to_end_of_line: bool) -> int:
    """Where a value ends that begins there: quoted texts and others without anything between them are one."""
    if text.startswith(("{", "["), at):
        return len(text)
    pattern = LINE_REST if to_end_of_line else BARE
    while found := QUOTED.match(text, at) or pattern.match(text, at):
        at, pattern = found.end(), BARE
    return at


def _credential(found: re.Match[str]) -> str:
    """The word basic is one, too."""
    if found[1].lower() == "basic" and len(found[3]) < 12:
        return found[0]
    return f"{found[1]}{found[2]}{REDACTED}"


def _spelled(name: str) -> str:
    return "[-_]?".join(map(re.escape, re.split("[-_]+", name.removesuffix("*")))) + (
        "[a-z0-9_-]*" * name.endswith("*")
    )
