"""The reference pages of the site, made from the code: options, settings, documents, statistics, the SDK.

python tools/reference.py FOLDER        writes them, as `make docs` does
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import api_reference
import click
import gateway_reference
import gatewright_builder.manifest
import gatewright_cli
import gatewright_controller.__main__ as controller
import gatewright_controller.model as api
import gatewright_executor.main as executor
import go_structs
import msgspec
import policy_pages
from gatewright.access import ANY, ENTRY
from gatewright.definition import DEFINITION_KEYS, MODE_KEYS, KeyRule
from gatewright_controller.settings import PREFIX, Settings
from gatewright_documents.field_docs import field_docs

ROOT = Path(__file__).resolve().parent.parent
MADE = "*This page is made from the code.*"
Row = tuple[str, ...]


def pages() -> dict[str, str]:
    """File name to Markdown."""
    return {
        "command-line.md": command_line(),
        "processes.md": processes(),
        "controller-settings.md": controller_settings(),
        "build-yaml.md": build_yaml(),
        "policy-definition.md": policy_definition(),
        "api-definition.md": api_definition(),
        "gateway.md": gateway(),
        "upstreams.md": upstreams(),
        "management-api.md": page("Management API", *api_reference.parts(table)),
        "statistics.md": go_structs.statistics(),
        **{f"{name.replace('.', '-')}.md": module(name) for name in SDK},
        **policy_pages.pages(),
    }


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *parts, MADE]) + "\n"


def table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(cell(text) for text in row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    return f"`{text}`" if text else ""


# ---------------------------------------------------------------- options


def command_line() -> str:
    group = next(command_group for command_group in click_groups() if command_group.name == "cli")
    context = click.Context(group, info_name="gatewright")
    parts = [str(group.help), options_of(group, context)]
    for inside in commands_of(group, context):
        usage = " ".join(inside.command.collect_usage_pieces(inside))
        name, help_text = inside.command_path, text_of(inside.command.help or "")
        parts += [f"## {name}", f"    {name} {usage}", help_text, options_of(inside.command, inside)]
    return page("Command line", *filter(None, parts))


def commands_of(group: click.Group, context: click.Context) -> Iterator[click.Context]:
    """The options of all commands of a group, and of the groups in it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        inside = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from commands_of(command, inside)
        else:
            yield inside


def click_groups() -> Iterator[click.Group]:
    for module_info in pkgutil.walk_packages(gatewright_cli.__path__, "gatewright_cli."):
        if not module_info.name.endswith("__main__"):
            module = importlib.import_module(module_info.name)
            yield from (value for value in vars(module).values() if isinstance(value, click.Group))


def text_of(help_text: str) -> str:
    """A help text as Markdown; what click is to leave as it stands is code."""
    paragraphs = inspect.cleandoc(help_text).split("\n\n")
    return "\n\n".join(
        textwrap.indent(paragraph.removeprefix("\b\n"), "    ") if paragraph.startswith("\b") else paragraph
        for paragraph in paragraphs
    )


def options_of(command: click.Command, context: click.Context) -> str:
    rows = [row for parameter in command.get_params(context) if (row := option(parameter, context))]
    return table(("option", "default", "meaning"), rows) if rows else ""


def option(parameter: click.Parameter, context: click.Context) -> Row | None:
    if not isinstance(parameter, click.Option) or parameter.hidden or "--help" in parameter.opts:
        return None
    names = ", ".join(code(name) for name in (*parameter.opts, *parameter.secondary_opts))
    metavar = (
        ""
        if parameter.is_flag or parameter.count
        else f" {code(parameter.make_metavar(context).replace('INTEGER RANGE', 'N'))}"
    )
    extra = parameter.get_help_extra(context)
    default = code(extra.get("default", ""))
    meaning = parameter.help or ""
    if match := re.search(r"\s*\[default: (.*)\]$", meaning):
        default, meaning = match[1], meaning[: match.start()]
    if parameter.multiple:
        meaning += " May be repeated."
    return names + metavar, default, meaning


def processes() -> str:
    """The options of the processes that `gatewright run` starts."""
    return page(
        "Options of the processes",
        "`gatewright run` starts these processes and gives them their sockets; "
        "`--py.NAME` and `--pe.NAME` of it pass an option on.",
        "## Executor",
        arguments(lambda: executor.main([])),
        "## Policy engine",
        table(("option", "default", "meaning"), go_structs.flags("policy-engine")),
        "## Controller",
        "Each option goes before the variable and the [setting](controller-settings.md) of the same name.",
        arguments(lambda: controller.main()),
    )


class _ParserCaughtError(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def arguments(program: Callable[[], object]) -> str:
    """The options of a program that reads them with argparse: it is begun, and stopped when it would read them."""

    def caught(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _ParserCaughtError(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", caught):
        try:
            program()
        except _ParserCaughtError as error:
            actions = [action for action in error.parser._actions if action.dest != "help"]
            return table(("option", "meaning"), [argument(action) for action in actions])
    raise SystemExit("reference: expected a program that reads its options with argparse")


def argument(action: argparse.Action) -> Row:
    takes = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else "")
    names = ", ".join(code(name) for name in action.option_strings)
    return f"{names} {code(takes)}", (action.help or "").replace("%%", "%")


# ---------------------------------------------------------------- documents


def controller_settings() -> str:
    properties = definitions(Settings)["Settings"]["properties"]
    rows = [
        (
            code(field.encode_name),
            code(PREFIX + field.name.upper()),
            default(getattr(Settings(), field.name)),
            properties[field.encode_name]["description"],
        )
        for field in msgspec.structs.fields(Settings)
    ]
    return page(
        "Controller settings",
        "A variable goes before the file that `--settings` names, and an option before both.",
        table(("setting", "variable", "default", "meaning"), rows),
        "`python -m gatewright_controller --print-settings` prints a file with all of them.",
    )


def build_yaml() -> str:
    fields = gatewright_builder.manifest
    structs_by_title: dict[str, type[msgspec.Struct]] = {
        "The file": fields.ManifestFields,
        "An entry of `policies`": fields.EntryFields,
    }
    return page("build.yaml", structs(structs_by_title))


def policy_definition() -> str:
    access = [
        (code("files"), "read and write, each with a list of paths", code("{}")),
        (code("network"), f"any, none, or a list of {ENTRY}", code(ANY)),
    ]
    file = table(("key", "takes", "default"), [*map(key_row, DEFINITION_KEYS.items()), *access])
    modes = table(("key", "takes", "default"), map(key_row, MODE_KEYS.items()))
    return page("policy-definition.yaml", f"## The file\n\n{file}\n\n## processingMode\n\n{modes}")


def key_row(entry: tuple[str, KeyRule]) -> Row:
    key, rule = entry
    return code(key), rule.expected, "required" if rule.required else default(rule.default)


def api_definition() -> str:
    structs_by_title: dict[str, type[msgspec.Struct]] = {
        "The file": api.Api,
        "`metadata`": api.Metadata,
        "`spec`": api.ApiSpec,
        "`spec.upstream.NAME`": api.Upstream,
        "An operation": api.Operation,
        "`split[]`": api.Split,
        "`mirror[]`": api.Mirror,
        "`retries`": api.Retries,
        "`retries.backOff`": api.BackOff,
        "`rewrite`": api.Rewrite,
        "`websocket`": api.Websocket,
        "`redirect`": api.OperationRedirect,
        "`answer`": api.Answer,
        "An attachment of a policy": api.PolicyAttachment,
        "`onError` by class": api.OnErrorByClass,
    }
    return page("API definition", structs(structs_by_title))


def upstreams() -> str:
    """Fields of pools, and Envoy's behind each: what stands after `Envoy:` in its docstring."""
    structs_by_title: dict[str, type[msgspec.Struct]] = {
        "`spec.upstream.NAME`": api.Upstream,
        "`targets[]`": api.Target,
        "`loadBalancing`": api.LoadBalancing,
        "`loadBalancing.hashOn`": api.HashOn,
        "`healthCheck`": api.HealthCheck,
        "`healthCheck.http`": api.HttpCheck,
        "`healthCheck.grpc`": api.GrpcCheck,
        "`healthCheck.tcp`": api.TcpCheck,
        "`ejection`": api.Ejection,
        "`circuitBreaker`": api.CircuitBreaker,
        "`dns`": api.Dns,
        "`tls`": api.UpstreamTls,
        "`tcpKeepalive`": api.TcpKeepalive,
    }
    how_to = "How to use them is in [Pools of upstreams](../how-to/upstreams.md)."
    return page("Fields of upstreams", how_to, structs(structs_by_title))


def gateway() -> str:
    sections = gateway_reference.sections(lambda schema: takes(schema, {}))
    return page("Gateway", gateway_reference.INTRODUCTION, *sections)


def structs(structs_by_title: dict[str, type[msgspec.Struct]]) -> str:
    titles = {kind.__name__: title.strip("`") for title, kind in structs_by_title.items()}
    return "\n\n".join(f"## {title}\n\n{struct(kind, titles)}" for title, kind in structs_by_title.items())


def struct(kind: type[msgspec.Struct], titles: dict[str, str]) -> str:
    properties = definitions(kind)[kind.__name__]["properties"]
    docs = field_docs(kind)
    rows: list[Row] = [
        (
            code(field.encode_name),
            takes(properties[field.encode_name], titles),
            "required" if field.required else default(_default_of(field)),
            *_meaning(docs.get(field.name, "")),
        )
        for field in msgspec.structs.fields(kind)
    ]
    if not rows:
        return "It has no fields."
    columns = 3 + any(row[3] for row in rows) + any(row[4] for row in rows)
    return table(("key", "takes", "default", "meaning", "in Envoy")[:columns], [row[:columns] for row in rows])


def _meaning(doc: str) -> tuple[str, str]:
    """The meaning of a field, and Envoy's field behind it."""
    meaning, _, behind = " ".join(doc.split()).partition(" Envoy: ")
    return meaning, behind


def _default_of(field: msgspec.structs.FieldInfo) -> object:
    value: object = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return value


def definitions(kind: type[msgspec.Struct]) -> dict[str, Any]:
    schemas: dict[str, Any] = msgspec.json.schema(kind, schema_hook=lambda _: {"type": "object"})["$defs"]
    return schemas


def takes(schema: dict[str, Any], titles: dict[str, str]) -> str:
    """The allowed values, in words where the code has them."""
    if description := schema.get("x-expected") or schema.get("description"):
        return str(description)
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[1]
        return titles.get(name, name)
    if "anyOf" in schema:
        return ", or ".join(takes(alternative, titles) for alternative in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if isinstance(inner := schema.get("additionalProperties"), dict):
        return "an object of names: " + takes(inner, titles)
    if schema.get("type") == "array":
        return "a list: " + takes(schema["items"], titles)
    return NAMES.get(str(schema.get("type")), str(schema.get("type", "any value"))) + bounds(schema)


NAMES = {"string": "text", "object": "an object", "integer": "a whole number", "boolean": "`true`, `false`"}


def bounds(schema: dict[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:,} to {schema['maximum']:,}"
    return f" from {schema['minimum']:,}" if "minimum" in schema else ""


def default(value: object) -> str:
    if value is msgspec.UNSET or value == "":
        return ""
    if isinstance(value, msgspec.Struct):
        return ""
    return code(value if isinstance(value, str) else json.dumps(value))


SDK: dict[str, dict[str, tuple[str, ...]]] = {
    "gatewright.policy": {
        "What a policy is given": (
            "RequestContext",
            "ResponseContext",
            "Headers",
            "Metadata",
            "QueryParams",
            "Cookies",
            "Identity",
            "Peer",
            "PolicyMetadata",
            "TraceContext",
            "RequestStreamContext",
            "ResponseStreamContext",
            "Chunks",
            "Trailers",
        ),
        "What a policy returns": (
            "UpstreamRequestModifications",
            "Attempt",
            "UpstreamResponseModifications",
            "ImmediateResponse",
            "Reject",
            "RequestAction",
            "ResponseAction",
            "Chunk",
        ),
        "What a policy defines": (
            "OnRequest",
            "OnResponse",
            "OnRequestStream",
            "OnResponseStream",
            "Setup",
            "Prepare",
            "Close",
            "Policy",
        ),
        "Values": ("HeaderValue", "JsonValue", "ReadOnlyDict", "ReadOnlyList", "FailureClass"),
    },
    "gatewright.testing": {
        "The policy": ("load_policy", "params", "secret", "prepared", "setup", "Prepared"),
        "Metrics": ("metric", "reset_metrics"),
        "Time": ("clock", "MovedClock"),
        "State": ("store", "StoreInMemory"),
        "Contexts": ("request", "response", "HeaderLines", "header_blob"),
        "Streams": ("stream", "Stream", "run_stream", "StreamResult", "collect_stream", "streaming"),
        "Recorded exchanges": ("replay", "Replay", "ReplayedExecution", "IncompleteRecordingError"),
    },
    "gatewright.llm": {
        "Requests": ("read_request", "LlmRequest", "PromptText", "shape_of_path", "PathShape", "Shape", "SHAPES"),
        "Answers": ("AnswerReader", "AnswerError", "TextDelta", "Usage", "read_usage"),
        "Usage of streams": ("with_stream_usage", "read_answer", "UsageChunkFilter", "is_usage_chunk"),
        "Translation": (
            *("can_translate", "translate_request", "translate_path", "translate_answer", "StreamTranslator"),
            "TranslationError",
        ),
        "Prices": ("Prices", "Price", "PriceError"),
        "Refusals": ("problem",),
        "Texts in events": ("text_places", "answer_places", "ended_texts", "TextPlace"),
        "Texts that are filtered as they stream": ("EventFilter", "TextFilter"),
    },
    "gatewright.masking": {
        "A text": ("Masking", "MaskedText", "mask_slices"),
        "What is found": ("Detector", "longest_match", "beginning_of_matches", "Replace", "Span", "LONGEST", "SLICE"),
        "JSON": ("MaskedStrings", "mask_strings", "change_strings", "read_json", "write_json"),
    },
    "gatewright.mcp": {
        "Messages of clients": ("read_messages", "Messages", "Message", "Target", "Malformed", "METHODS", "LISTS"),
        "Headers": ("check_headers", "header_value"),
        "In the place of a server": (
            *("read_request", "Asked", "Reply", "Server", "answer", "refuse", "read_message", "as_asked"),
            *("SESSION_REVISIONS", "STATELESS_REVISIONS"),
        ),
        "Answers of servers": ("AnswerReader", "AnswerEditor", "Result", "results_of"),
        "Errors": (
            *("error_message", "PARSE_ERROR", "INVALID_REQUEST", "INVALID_PARAMS", "METHOD_NOT_FOUND"),
            *("RESOURCE_NOT_FOUND", "INTERNAL_ERROR", "HEADER_MISMATCH", "UNSUPPORTED_PROTOCOL_VERSION"),
        ),
    },
    "gatewright.metrics": {
        "Metrics": ("Counter", "Gauge", "Histogram", "DEFAULT_BUCKETS", "MetricError"),
        "One set of label values": ("CounterSeries", "GaugeSeries", "HistogramSeries", "Timer"),
    },
    "gatewright.action": {"The gateway's check of an action": ("check", "ActionError")},
    "gatewright.background": {
        "A value": ("Fresh", "NotReadyError"),
        "Work": ("every", "Every"),
    },
    "gatewright.bearer": {
        "A request's token": ("token", "raw_token", "only", "json_object"),
        "A request that does not pass": ("RefusedError", "missing", "ErrorCode"),
    },
    "gatewright.charsets": {
        "A body's text": ("decode", "detect", "detect_stream", "needs_more", "XML_BEGINNING"),
        "Names": ("of_content_type", "encoding", "CHARSETS", "CharsetError"),
    },
    "gatewright.cookies": {"A cookie of a response": ("set_cookie",)},
    "gatewright.problems": {"A refusal": ("problem", "CONTENT_TYPE")},
    "gatewright.secrets": {"A secret": ("Secret",)},
    "gatewright.clock": {"The time": ("now", "monotonic"), "For tests": ("use", "Source")},
    "gatewright.store": {
        "Stores": ("Store", "AsyncStore", "StoreUnavailableError", "StoreFullError"),
        "Limits of requests": ("Limit", "Throttled"),
        "Budgets": ("Reserved", "MAX_AMOUNT", "MAX_NAME"),
        "Bounds": ("MAX_KEY", "MAX_VALUE", "MAX_TTL"),
    },
    "gatewright.streams": {
        "Asynchronous iterators": ("lines", "text", "json_lines", "sse_events", "grpc_messages", "replaced", "parse"),
        "What they give and take": ("SseEvent", "GrpcMessage", "json_line", "StreamError", "LIMIT"),
        "Parsers without I/O": (
            "Parser",
            "LineParser",
            "TextDecoder",
            "JsonLinesParser",
            "SseParser",
            "GrpcParser",
            "Replacer",
        ),
    },
}
"""The members on the pages of the SDK, in their order."""
BARE = {"ReadOnlyDict", "ReadOnlyList", "Prepared"}
"""Classes whose methods are those of what they stand for."""
GIVEN = {
    *("RequestContext", "ResponseContext", "RequestStreamContext", "ResponseStreamContext"),
    *("Headers", "Metadata", "Trailers", "Prepared", "Stream"),
    *("Cookies", "QueryParams", "Every"),
    *("CounterSeries", "GaugeSeries", "HistogramSeries", "Timer"),
    *("LlmRequest", "PromptText", "AnswerError", "TextDelta", "TextPlace"),
    *("Messages", "Message", "Target", "Malformed", "Result"),
}
"""Classes that authors of policies never construct."""
INSIDE = {"RequestFields", "ResponseFields", "HOOKS", "STREAM_HOOKS"}
"""Names that are public for the executor alone."""


def module(name: str) -> str:
    """A page of one module of the SDK. Raises where it has something that no section names, or the other way round."""
    imported, alias = importlib.import_module(name), importlib.import_module(name.replace("gatewright", "sdk"))
    public = set(getattr(alias, "__all__", None) or getattr(imported, "__all__", None) or own_names(imported)) - INSIDE
    public_names = [public_name for section in SDK[name].values() for public_name in section]
    if public != set(public_names):
        odd = ", ".join(sorted(public ^ set(public_names)))
        raise SystemExit(f"reference: expected each public name of {name} in one section of SDK, got otherwise: {odd}")
    parts = [f"# {name}", f"Policies import it as `sdk.{name.partition('.')[2]}`: the objects are the same."]
    parts.append(f"::: {name}\n    options: {{members: false, show_root_heading: false, show_root_toc_entry: false}}")
    for section, members in SDK[name].items():
        parts += [f"## {section}", *(member(name, public_name) for public_name in members)]
    return "\n\n".join(parts) + "\n"


def own_names(module_object: ModuleType) -> Iterator[str]:
    """The names that a module without __all__ defines itself."""
    for node in ast.parse(inspect.getsource(module_object)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def member(module: str, name: str) -> str:
    options = ["show_root_heading: true", "heading_level: 3"]
    options += ["members: false"] * (name in BARE) + ["merge_init_into_class: false"] * (name in GIVEN)
    return f"::: {module}.{name}\n    options: {{{', '.join(options)}}}"


if __name__ == "__main__":
    for file, text in pages().items():
        (Path(sys.argv[1]) / file).write_text(text)
