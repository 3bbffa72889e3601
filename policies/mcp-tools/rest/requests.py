"""From a tool's arguments to the request for the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from .json_schema import JsonError, check_text, mistakes, size
from .operations import BODY, FORM, RULES, VARIABLE, Tool
from .places import ArgumentError, to_json, to_text

ACCEPT = "application/json, text/*;q=0.9, */*;q=0.8"


@dataclass(frozen=True, slots=True)
class Request:
    """What goes to the API. path: behind the context of the gateway's API."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str


def find_mistakes(tool: Tool, arguments: Any) -> list[str]:
    """What is wrong with the arguments, each with its place; []: they fit."""
    try:
        size(arguments, RULES)
        check_text(arguments)
    except JsonError as error:
        return [str(error)]
    found = mistakes(tool.validator, arguments, RULES)
    return [f"{mistake['pointer'] or 'arguments'}: {mistake['message']}" for mistake in found]


def to_request(tool: Tool, arguments: Mapping[str, Any]) -> Request:
    """The request for arguments without mistakes. ArgumentError: one that would change the path, or fits no header."""
    in_path: dict[str, str] = {}
    query: list[str] = []
    headers = {"accept": ACCEPT}
    for place in tool.places:
        if place.argument not in arguments:
            continue
        value = arguments[place.argument]
        match place.place:
            case "path":
                in_path[place.name] = place.in_path(value)
            case "query":
                query += place.in_query(value)
            case _:
                headers[place.name.lower()] = place.in_header(value)
    body = ""
    if tool.body_type and BODY in arguments:
        body = _to_body(tool.body_type, arguments[BODY])
        headers["content-type"] = "application/json" if "*" in tool.body_type else tool.body_type
    path = VARIABLE.sub(lambda variable: in_path[variable[1]], tool.template)
    return Request(tool.method, path, "&".join(query), headers, body)


def _to_body(media_type: str, value: Any) -> str:
    if media_type == FORM:
        if not isinstance(value, Mapping):
            raise ArgumentError(f"{BODY}: expected an object, since it is sent as a form")
        pairs = [
            (name, item) for name, inner in value.items() for item in (inner if isinstance(inner, list) else [inner])
        ]
        return "&".join(f"{quote_plus(name)}={quote_plus(to_text(item))}" for name, item in pairs)
    return to_text(value) if media_type == "text/plain" else to_json(value)
