"""The client's path without the values of secret parameters, for the access log: by RE2, as Envoy has it.

The engine does the same to what it records (internal/redaction/query.go); a name that this cannot read is secret, too.
"""

from __future__ import annotations

import re

from gatewright_documents.values import JsonObject

from gatewright_controller.model import Redaction
from gatewright_controller.resource.secret_names import REDACTED

PART = r"(?:[\[\].]|%5[BbDd]|%2[Ee])"
"""Between the parts of a name: user[token], user.token."""
ANY = "[^=&;#]*"
ENCODED = rf"{ANY}%(?:2[Dd]|3[0-9]|[46][1-9A-Fa-f]|5[0-9AaFf]|7[0-9Aa]){ANY}"
"""A name with a letter, a digit, - or _ that is encoded though it need not be."""
JWT = "eyJ[A-Za-z0-9_-]{8}"
"""How a JSON Web Token begins."""
SUBSTITUTION = rf"\1\2{REDACTED}"


def secret_parameters(redaction: Redaction) -> str:
    """RE2 of what is to be replaced by SUBSTITUTION, in a path with its query."""
    names = "|".join(map(_name, redaction.all_query_parameters))
    named = rf"(?:{ANY}{PART})?(?:{names})(?:{PART}{ANY})?" if names else ENCODED
    return rf"([?&;](?:(?i:{named})|{ENCODED})=)[^&;#]*|([?&;]{ANY}=){JWT}[^&;#]*"


def has_secret(redaction: Redaction) -> JsonObject:
    """Matches a path in which there is one."""
    return {"safe_regex": {"regex": f".*(?:{secret_parameters(redaction)}).*"}}


def _name(name: str) -> str:
    """Its parts with - or _ between them, or nothing."""
    parts = re.split("[-_]+", name.removesuffix("*"))
    return "[-_]?".join(map(re.escape, parts)) + (ANY if name.endswith("*") else "")
