"""Paths as clients send them to paths as upstreams, or redirected clients, are to see them: RE2 and its substitution.

By patterns of whole paths: what a policy made a path that the pattern does not match stays as it is.
"""

from __future__ import annotations

import re

from gatewright_controller.model import Rewrite
from gatewright_controller.resource.paths import Kind, PathTemplate, Segment, parse_path, spellings

Substitution = tuple[str, str]


def upstream_base(base: str, rewrite: Rewrite) -> str | None:
    """What stands upstream in the place of the API's context; None where the whole path is another one."""
    if isinstance(rewrite.path, str):
        return None
    prefix = rewrite.prefix if isinstance(rewrite.prefix, str) else ""
    return base + prefix.rstrip("/")


def upstream_path(context: str, base: str, source: PathTemplate, rewrite: Rewrite) -> Substitution | None:
    """What an upstream is sent in place of a path of the operation's template; None: the path itself."""
    if isinstance(rewrite.path, str):
        return _by_template(context, source, base, parse_path(rewrite.path))
    return context_to_base(context, upstream_base(base, rewrite) or "")


def context_to_base(context: str, base: str) -> Substitution | None:
    """Context to base path, by a regex: a prefix rewrite leaves alone what a policy made another route's path."""
    context = "" if context == "/" else context
    if context == base:
        return None
    if base:
        return f"^{re.escape(context)}(/.*)?$", _literal(base) + r"\1"
    return f"^{re.escape(context)}(?:/(.*))?$", r"/\1"


def redirect_path(context: str, source: PathTemplate, path: str) -> Substitution:
    """What a client is sent to in place of a path of the operation's template."""
    return _by_template(context, source, "", parse_path(path))


def _by_template(context: str, source: PathTemplate, base: str, wanted: PathTemplate) -> Substitution:
    used = {segment.text for segment in wanted.segments if segment.kind is Kind.PARAMETER}
    groups = [segment.text for segment in source.segments if segment.kind is Kind.PARAMETER and segment.text in used]
    fixed = _literal(base) + "".join(_text(segment, groups) for segment in wanted.fixed)
    # Else what the wildcard stands for begins the path, and may be nothing.
    behind = bool(fixed)
    pattern = "".join(_pattern(segment, used, behind) for segment in source.segments)
    substitution = fixed
    if wanted.ends_in_wildcard:
        rest = rf"\{len(groups) + 1}"
        substitution += rest if behind else f"/{rest}"
    elif wanted.trailing_slash or not behind:
        substitution += "/"
    end = "" if source.ends_in_wildcard else "/?"
    return f"^{re.escape('' if context == '/' else context)}{pattern}{end}$", substitution


def _pattern(segment: Segment, used: set[str], behind: bool) -> str:
    match segment.kind:
        case Kind.LITERAL:
            return "/" + spellings(segment.text)
        case Kind.PARAMETER:
            return "/([^/]+)" if segment.text in used else "/[^/]+"
    return "(/.*)?" if behind else "(?:/(.*))?"


def _text(segment: Segment, groups: list[str]) -> str:
    if segment.kind is Kind.PARAMETER:
        return rf"/\{groups.index(segment.text) + 1}"
    return _literal(f"/{segment.text}")


def _literal(text: str) -> str:
    r"""RE2 knows `\` alone."""
    return text.replace("\\", "\\\\")
