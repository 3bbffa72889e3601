"""Removes secrets from log lines, by the Gateway's list of names (spec.redaction).

All lines of all processes of a node pass here. One RE2 search passes a line without a possible secret unchanged; any
other line is parsed, redacted value by value, and written anew.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

import msgspec
import re2
from gatewright_controller.resource.secret_names import REDACTED, SecretNameSet

from gatewright_cli.clients.engine_admin import SecretNames

JWT = r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*"
CREDENTIALS = r"(?i)\b(bearer|dpop|negotiate|basic)((?:\s|%20|\+)+)([A-Za-z0-9._~+/=-]{6,})"
USERINFO = r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s\"'<>\\]*@"
PARAMETER = r"([?&;#]([^=&;?#\s\"'<>\\]+)=)[^&;#\s\"'<>\\]*"
ASSIGNMENT = r"\b([A-Za-z][A-Za-z0-9_-]{0,63})(?:[\"']?[ \t]*[:=][ \t]*|',[ \t]*(?='))"
"""NAME=, NAME:, and as Envoy writes headers, 'NAME', 'VALUE'."""
ODD_PARAMETER = r"[?&;][^=&;#\s\"]*[%\[.][^=&;#\s\"]*="
"""A parameter whose name is encoded, or has parts."""
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?", re.DOTALL)
BARE = re.compile(r"[^\s,;&\"'<>{}\[\]()]+")
LINE_REST = re.compile(r"[^\r\n\"']+")
STANDARD = ("time", "level", "component")


class LineRedaction:
    """Redaction by one list of names."""

    def __init__(self, names: SecretNames) -> None:
        headers, parameters, fields = names.headers, names.query_parameters, names.fields
        self._headers, self._parameters, self._fields = map(SecretNameSet, (headers, parameters, fields))
        named = "|".join(sorted(map(_name_pattern, {*headers, *fields, *parameters})))
        assigned = rf"(?i)(?:{named})\\?[\"']?\s*(?:[:=]|,\s*')" if named else "[^\\s\\S]"
        options = re2.Options()
        options.max_mem = 64 << 20
        parts = ["eyJ", CREDENTIALS, '://[^/"]*@', ODD_PARAMETER, assigned]
        self._suspicious = re2.compile("|".join(parts).encode(), options)

    def __call__(self, line: bytes) -> bytes:
        """The redacted line; JSON stays JSON."""
        if self._suspicious.search(line) is None:
            return line
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self.text(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        shown = {key: value if key in STANDARD else self._member(key, value) for key, value in fields.items()}
        return line if shown == fields else msgspec.json.encode(shown)

    def text(self, text: str) -> str:
        """Free text without tokens, credentials, users of URLs, secret parameters, and values behind secret names."""
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
                return self._document(value) if value.startswith(("{", "[")) else self.text(value)
            case dict():
                return {self.text(str(key)): self._member(str(key), member) for key, member in value.items()}
            case list():
                return [self._value(item) for item in value]
        return value

    def _document(self, text: str) -> str:
        """The redacted text of a member, which stays JSON if it is: a policy's record in a message."""
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return self.text(text)
        shown = self._value(value)
        return text if shown == value else msgspec.json.encode(shown).decode()

    def _parameter(self, match: re.Match[str]) -> str:
        """The replacement of a URL parameter, also of one in an object or a list: user[token], user.token, token[]."""
        name = unquote_plus(match[2])
        parts = [name, *filter(None, re.split(r"[\[\].]", name))]
        return f"{match[1]}{REDACTED}" if any(part in self._parameters for part in parts) else match[0]

    def _assignments(self, text: str) -> str:
        shown, at = [], 0
        for match in re.finditer(ASSIGNMENT, text):
            header = match[1] in self._headers
            if match.start() < at or not (header or match[1] in self._fields):
                continue
            end = _value_end(text, match.end(), to_end_of_line=header)
            if end == match.end() or text.startswith(REDACTED, match.end()):
                continue
            shown += [text[at : match.end()], REDACTED]
            at = end
        return "".join([*shown, text[at:]])


def _value_end(text: str, at: int, *, to_end_of_line: bool) -> int:
    """The end of the value that begins at `at`. Adjacent quoted and bare texts are one value."""
    if text.startswith(("{", "["), at):
        return len(text)
    pattern = LINE_REST if to_end_of_line else BARE
    while match := QUOTED.match(text, at) or pattern.match(text, at):
        at, pattern = match.end(), BARE
    return at


def _credential(match: re.Match[str]) -> str:
    """The replacement of credentials. After "basic", which is an ordinary word too, only long texts count."""
    if match[1].lower() == "basic" and len(match[3]) < 12:
        return match[0]
    return f"{match[1]}{match[2]}{REDACTED}"


def _name_pattern(name: str) -> str:
    return "[-_]?".join(map(re.escape, re.split("[-_]+", name.removesuffix("*")))) + (
        "[a-z0-9_-]*" * name.endswith("*")
    )
