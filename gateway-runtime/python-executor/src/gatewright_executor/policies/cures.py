"""Cures for errors of policies whose message by Python does not show the cause."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from difflib import get_close_matches
from pathlib import Path

from gatewright.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications

ACTIONS = {
    action.__name__: action
    for action in (UpstreamRequestModifications, UpstreamResponseModifications, ImmediateResponse)
}
_KEYWORD = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_ALIASES = {"headers": "set_headers", "set_header": "set_headers", "status": "status_code", "code": "status_code"}
_DATABASE = "unable to open database file"


def cure(error: BaseException) -> str:
    """A clause that continues the error's message; "" if no cure is known."""
    if isinstance(error, TypeError) and (match := _KEYWORD.search(str(error))) and match[1] in ACTIONS:
        return _field_cure(match[1], match[2])
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return _access_cure(error)
    if type(error).__module__ == "sqlite3" and str(error) == _DATABASE:
        return "a policy opens only files that its policy-definition.yaml names: files: {read: [/PATH]}, or write"
    return ""


def _field_cure(action: str, name: str) -> str:
    known = [field.name for field in dataclasses.fields(ACTIONS[action])]
    alike = _ALIASES.get(name, "") if _ALIASES.get(name) in known else next(iter(get_close_matches(name, known, 1)), "")
    return f"write {alike}=…" if alike else f"it has {', '.join(known)}"


def _access_cure(error: OSError) -> str:
    """The cure if the file's permissions allow the access, so that the isolation of the process refused it."""
    path = error.filename
    if path is None:
        return "if it was a connection, name its address under network: of the policy's policy-definition.yaml"
    if not isinstance(path, str | bytes):
        return ""
    path = os.fsdecode(path)
    if os.access(path, os.R_OK):
        return f"the policy's process may not: name {path} under files: {{read: […]}} of its policy-definition.yaml"
    if not os.path.lexists(path) and os.access(Path(path).parent, os.W_OK):
        return f"the policy's process may not: name {path} under files: {{write: […]}} of its policy-definition.yaml"
    return ""
