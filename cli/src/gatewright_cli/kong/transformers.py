"""request-transformer and response-transformer, by the policies set-headers and rewrite."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatewright_controller.model.redaction import DEFAULT_HEADERS
from gatewright_controller.resource.secret_names import SecretNameSet
from gatewright_documents.values import JsonObject

from gatewright_cli.kong.attachments import NoCounterpartError, Scene, attach
from gatewright_cli.kong.deck import Plugin
from gatewright_cli.kong.expressions import cel_text
from gatewright_cli.kong.source import Fields

TEMPLATE = re.compile(r"\$\((headers|query_params)(?:\.([A-Za-z0-9_-]+)|\[['\"]([^'\"\]]+)['\"]\])\)")
ANY_TEMPLATE = re.compile(r"\$\([^)]*\)")
PLACES = {"headers": "header", "query_params": "query"}
ACTIONS = ("remove", "rename", "replace", "add", "append")
SECRET_HEADERS = SecretNameSet(DEFAULT_HEADERS)
BODIES = ("body", "json", "json_types")
BODY = ("bodies are changed by expressions", "attach transform-json")
BY_SECRET_REF = "write a policy that takes it by secretRef, as docs/how-to/secrets.md shows"  # noqa: S105 - a sentence
SCRIPT = ("templates of Lua have no counterpart", "write a policy: `gatewright new policy`")


def request_transformer(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """Each change in Kong's order: remove, rename, replace, add, append."""
    config = plugin.config
    found = [attachment for action in ACTIONS for attachment in _request_changes(config.at(action), action, scene)]
    if config.has("http_method"):
        found.append(attach("rewrite", {"method": config.text("http_method").upper()}))
    if config.at("replace").has("uri"):
        cure = "set rewrite.path of the operations"
        scene.report.left_out(config.at("replace").where("uri"), "the path is rewritten at the operation", cure)
    if config.value.get("allow"):
        scene.report.left_out(config.where("allow"), *BODY)
    return found


def _request_changes(changes: Fields, action: str, scene: Scene) -> Iterator[JsonObject]:
    _leave_bodies(changes, scene)
    for index, text in enumerate(changes.texts("headers")):
        where = changes.where("headers", index)
        yield from _reported(_header_change(action, text), where, scene)
    for index, text in enumerate(changes.texts("querystring")):
        where = changes.where("querystring", index)
        yield from _reported(_query_change(action, text), where, scene)


def _reported(change: list[JsonObject] | str, where: tuple[str | int, ...], scene: Scene) -> list[JsonObject]:
    """The attachments; none for a change that has no counterpart, which is reported."""
    if isinstance(change, str):
        scene.report.left_out(where, change, BY_SECRET_REF if "secret" in change else SCRIPT[1])
        return []
    return change


def _leave_bodies(changes: Fields, scene: Scene) -> None:
    for key in BODIES:
        if changes.value.get(key):
            scene.report.left_out(changes.where(key), *BODY)
        else:
            changes.see(key)


def _header_change(action: str, text: str) -> list[JsonObject] | str:
    name, _, raw = text.partition(":")
    value = _value(raw)
    present = f"{cel_text(name)} in request.headers"
    if value is None:
        return SCRIPT[0]
    if (name in SECRET_HEADERS and action != "rename" and raw and "${" not in value) or "{vault://" in raw:
        return f"the value of {name} is a secret, and the files of APIs have none"
    match action:
        case "remove":
            return [attach("set-headers", {"request": {"remove": [text]}})]
        case "rename":
            copied = attach(
                "set-headers", {"request": {"set": [{"name": raw, "value": f"${{header.{name}}}"}]}}, present
            )
            return [copied, attach("set-headers", {"request": {"remove": [name]}})]
        case "append":
            return [attach("set-headers", {"request": {"append": [{"name": name, "value": value}]}})]
    when = present if action == "replace" else f"!({present})"
    return [attach("set-headers", {"request": {"set": [{"name": name, "value": value}]}}, when)]


def _query_change(action: str, text: str) -> list[JsonObject] | str:
    name, _, raw = text.partition(":")
    value = _value(raw)
    present = f"size(request.query[{cel_text(name)}]) > 0"
    if value is None:
        return SCRIPT[0]
    match action:
        case "remove":
            return [attach("rewrite", {"query": {"remove": [text]}})]
        case "rename":
            set_new = {"query": {"set": [{"name": raw, "value": f"${{query.{name}}}"}]}}
            return [attach("rewrite", set_new, present), attach("rewrite", {"query": {"remove": [name]}})]
        case "append":
            return "a query parameter is set, and not added to others of its name"
    when = present if action == "replace" else f"!({present})"
    return [attach("rewrite", {"query": {"set": [{"name": name, "value": value}]}}, when)]


def _value(text: str) -> str | None:
    """The value with placeholders; None if it has a template of another kind."""
    filled, end = "", 0
    for found in ANY_TEMPLATE.finditer(text):
        template = TEMPLATE.fullmatch(found[0])
        if template is None:
            return None
        filled += (
            f"{text[end : found.start()].replace('${', '$${')}${{{PLACES[template[1]]}.{template[2] or template[3]}}}"
        )
        end = found.end()
    return filled + text[end:].replace("${", "$${")


def response_transformer(plugin: Plugin, scene: Scene) -> list[JsonObject]:
    """set-headers of the response."""
    config, report = plugin.config, scene.report
    changes: JsonObject = {}
    for action in ACTIONS:
        part = config.at(action)
        _leave_bodies(part, scene)
        if part.value.get("if_status"):
            report.left_out(part.where("if_status"), "headers are changed whatever the status", SCRIPT[1])
        for index, text in enumerate(part.texts("headers")):
            where = part.where("headers", index)
            name, _, value = text.partition(":")
            if action == "remove":
                changes.setdefault("remove", []).append(text)
            elif action in ("add", "append"):
                key = "append" if action == "append" else "set"
                if action == "add":
                    report.changed(where, "the header is set, even if the upstream has sent one of the name")
                changes.setdefault(key, []).append({"name": name, "value": value.replace("${", "$${")})
            else:
                report.left_out(
                    where, "a header of a response is not renamed, or replaced only if it is there", SCRIPT[1]
                )
    if not changes:
        raise NoCounterpartError("none of its changes has a counterpart", SCRIPT[1])
    return [attach("set-headers", {"response": changes})]
