"""What to write instead, where a policy's error is one that Python words for those who know what stands behind it."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from difflib import get_close_matches
from pathlib import Path

from gatewright.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications

ACTIONS = {
    each.__name__: each for each in (UpstreamRequestModifications, UpstreamResponseModifications, ImmediateResponse)
}
_KEYWORD = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_ALIASES = {"headers": "set_headers", "set_header": "set_headers", "status": "status_code", "code": "status_code"}
_DATABASE = "unable to open database file"


def cure(error: BaseException) -> str:
    """One sentence, without its first capital; "" where nothing is known."""
    if isinstance(error, TypeError) and (found := _KEYWORD.search(str(error))) and found[1] in ACTIONS:
        return _field_cure(found[1], found[2])
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return _access_cure(error)
    if type(error).__module__ == "sqlite3" and str(error) == _DATABASE:
        return "a policy opens the files alone that its policy-definition.yaml names: files: {read: [/PATH]}, or write"
    return ""


def _field_cure(action: str, name: str) -> str:
    known = [field.name for field in dataclasses.fields(ACTIONS[action])]
    alike = _ALIASES.get(name, "") if _ALIASES.get(name) in known else next(iter(get_close_matches(name, known, 1)), "")
    return f"write {alike}=…" if alike else f"it has {', '.join(known)}"


def _access_cure(error: OSError) -> str:
    """Where the file's permissions allow it, the isolation of the process is what does not."""
    path = error.filename
    if path is None:
        return "if it was a connection: the policy's process reaches what network: in its policy-definition.yaml names"
    if not isinstance(path, str | bytes):
        return ""
    path = os.fsdecode(path)
    if os.access(path, os.R_OK):
        return f"the policy's process may not: name {path} under files: {{read: […]}} of its policy-definition.yaml"
    if not os.path.lexists(path) and os.access(Path(path).parent, os.W_OK):
        return f"the policy's process may not: name {path} under files: {{write: […]}} of its policy-definition.yaml"
    return ""
