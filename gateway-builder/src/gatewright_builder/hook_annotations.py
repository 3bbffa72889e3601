"""Annotations of hooks that are the SDK's own, or of Python's plain types: whether they are those of the hook."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from gatewright_documents.mistake import Mistake

from gatewright_builder.policy import Policy

SDK_MODULES = ("sdk.policy", "gatewright.policy")
CONTEXTS = {
    "on_request": "RequestContext",
    "on_response": "ResponseContext",
    "on_request_stream": "RequestStreamContext",
    "on_response_stream": "ResponseStreamContext",
}
RETURNS = {
    "on_request": ("RequestAction", "UpstreamRequestModifications", "ImmediateResponse"),
    "on_response": ("ResponseAction", "UpstreamResponseModifications", "ImmediateResponse"),
}
ACTIONS = {name for names in RETURNS.values() for name in names}
PLAIN = {"str", "int", "float", "bool", "bytes"}
PARAMS = "dict[str, Any]"


def annotation_mistakes(
    policy: Policy, file: str, module: ast.Module, hooks: Mapping[str, ast.stmt]
) -> Iterator[Mistake]:
    """Of each hook whose annotations name what it is not called with, or does not return."""
    names = _sdk_names(module)
    for hook, function in hooks.items():
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for expected, got, line in _wrong(hook, function, names):
                yield policy.mistake(file, expected, got, "correct the annotation: the hook is called as it is", line)


def _wrong(
    hook: str, function: ast.FunctionDef | ast.AsyncFunctionDef, names: Mapping[str, str]
) -> Iterator[tuple[str, str, int]]:
    arguments = [*function.args.posonlyargs, *function.args.args]
    if arguments and (ctx := arguments[0]).annotation is not None:
        annotation = _named(ctx.annotation, names)
        if annotation and annotation != CONTEXTS[hook] and (annotation in CONTEXTS.values() or annotation in PLAIN):
            yield f"{ctx.arg}: {CONTEXTS[hook]} in {hook}", f"{ctx.arg}: {annotation}", ctx.lineno
    params = arguments[-1] if len(arguments) > 1 else None
    if params is not None and params.annotation is not None and _named(params.annotation, names) in PLAIN:
        yield f"{params.arg}: {PARAMS} in {hook}", f"{params.arg}: {ast.unparse(params.annotation)}", params.lineno
    if hook in RETURNS and function.returns is not None:
        annotation = _named(function.returns, names)
        if annotation in PLAIN or (annotation in ACTIONS and annotation not in RETURNS[hook]):
            yield f"{hook} to return {RETURNS[hook][0]}", f"-> {annotation}", function.lineno


def _sdk_names(module: ast.Module) -> dict[str, str]:
    """What the module calls the SDK's names, by that."""
    return {
        alias.asname or alias.name: alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module in SDK_MODULES
        for alias in node.names
    }


def _named(annotation: ast.expr, names: Mapping[str, str]) -> str:
    """The SDK's name, or the plain type, that an annotation is; "" for anything else."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return ""
    if not isinstance(annotation, ast.Name):
        return ""
    return names.get(annotation.id, annotation.id if annotation.id in PLAIN else "")
