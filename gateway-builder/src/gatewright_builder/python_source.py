"""A Python policy's sources: which files they are, and whether policy.py is what the executor can run.

Only read, never imported: what a policy does when it is imported is its environment's business (import_runner.py).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from gatewright.definition import BodyMode, ProcessingModeConfig
from gatewright_documents.mistake import Mistake

from gatewright_builder.hook_annotations import annotation_mistakes
from gatewright_builder.policy import Policy

POLICY_FILE = "policy.py"
LEGACY_FACTORY = "get_policy"
PHASE_HOOKS = ("on_request", "on_response")
STREAM_HOOKS = ("on_request_stream", "on_response_stream")
HOOKS = (*PHASE_HOOKS, *STREAM_HOOKS)
ARGUMENTS: dict[str, tuple[str, ...]] = {  # what each is called with, by position
    "on_request": ("ctx", "params"),
    "on_response": ("ctx", "params"),
    **dict.fromkeys(STREAM_HOOKS, ("ctx", "chunks", "params")),
    "setup": (),
    "prepare": ("params",),
    "close": ("prepared",),
    LEGACY_FACTORY: ("metadata", "params"),
}
NAMED = {"prepare": ("metadata", "shared"), "setup": ("system_params",)}  # passed as well to a function that names them
Function = ast.FunctionDef | ast.AsyncFunctionDef


def validate_python_directory_structure(policy: Policy) -> Iterator[Mistake]:
    """policy.py is there; every module parses; policy.py has the hooks that the definition speaks of."""
    trees: dict[str, ast.Module] = {}
    for file, content in policy.sources.items():
        if file.endswith(".py"):
            try:
                trees[file] = _parse(content, file)
            except (SyntaxError, ValueError) as error:
                yield _syntax_mistake(policy, file, error)
    if POLICY_FILE not in policy.sources:
        yield policy.mistake(POLICY_FILE, "the policy's module", "no such file", "write on_request(ctx, params) in it")
    elif POLICY_FILE in trees:
        yield from _hook_mistakes(policy, trees[POLICY_FILE])


def _parse(content: bytes, file: str) -> ast.Module:
    with warnings.catch_warnings(action="ignore"):  # such as an odd escape in a string: not what we were asked
        return ast.parse(content, file)


def _syntax_mistake(policy: Policy, file: str, error: SyntaxError | ValueError) -> Mistake:
    line = error.lineno if isinstance(error, SyntaxError) else None
    got = error.msg if isinstance(error, SyntaxError) else str(error)
    return policy.mistake(file, "Python that parses", f"a syntax error ({got})", "fix it", line)


def _hook_mistakes(policy: Policy, module: ast.Module) -> Iterator[Mistake]:
    bound = dict(_bound_names(module.body))
    for name, arguments in ARGUMENTS.items():
        function, named = bound.get(name), NAMED.get(name, ())
        if isinstance(function, Function) and not _takes(function, arguments, named):
            more = f" or {name}({', '.join(arguments + named)})" if named else ""
            expected = f"{name}({', '.join(arguments)}){more}"
            cure = "change its arguments: " + ("it is given these alone" if named else "they are given by position")
            yield policy.mistake(POLICY_FILE, expected, f"{name}({ast.unparse(function.args)})", cure, function.lineno)
    yield from annotation_mistakes(policy, POLICY_FILE, module, {name: bound[name] for name in HOOKS if name in bound})
    for name in STREAM_HOOKS:
        if isinstance(function := bound.get(name), Function) and (got := _no_stream(function)):
            cure = "write `async def`, and a `yield` in it"
            yield policy.mistake(POLICY_FILE, f"{name} to be an async generator", got, cure, function.lineno)
    if "close" in bound:
        yield from _close_mistakes(policy, bound["close"], bound.get("prepare"))
    is_legacy = LEGACY_FACTORY in bound and not any(hook in bound for hook in HOOKS)  # functions win over the factory
    yield from _missing_hooks(policy, bound, STREAM_HOOKS if is_legacy else HOOKS)


def _no_stream(function: Function) -> str:
    """What a function is that is no asynchronous generator; "" for one that is."""
    if isinstance(function, ast.AsyncFunctionDef):
        return "" if _yields(function) else "an `async def` without a `yield`"
    return "a `def`"


def _close_mistakes(policy: Policy, close: ast.stmt, prepare: ast.stmt | None) -> Iterator[Mistake]:
    if prepare is None:
        expected, cure = "prepare(params) beside close(prepared)", "write it, or give close another name"
        yield policy.mistake(POLICY_FILE, expected, "no prepare", cure, close.lineno)
    elif isinstance(prepare, Function) and _yields(prepare):
        expected, cure = "close(prepared), or a prepare that yields", "write the code that closes after the yield"
        yield policy.mistake(POLICY_FILE, expected, "both", cure, close.lineno)


def _yields(node: ast.AST) -> bool:
    """Whether a function has a yield of its own."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    return any(
        isinstance(child, ast.Yield | ast.YieldFrom) or (not isinstance(child, inner) and _yields(child))
        for child in ast.iter_child_nodes(node)
    )


def _missing_hooks(policy: Policy, bound: dict[str, ast.stmt], hooks: Iterable[str]) -> Iterator[Mistake]:
    mode = policy.definition.fields.processing_mode
    for hook in hooks:
        if hook in mode.hooks and hook not in bound:
            alike = get_close_matches(hook, bound.keys() - ARGUMENTS.keys(), n=1, cutoff=0.8)
            got, write, line = (
                (alike[0], "rename it", bound[alike[0]].lineno) if alike else (f"no {hook}", "write it", None)
            )
            expected, cure = f"{_call(hook)}, for its processingMode", f"{write}, or {_away(hook, mode)}"
            yield policy.mistake(POLICY_FILE, expected, got, cure, line)


def _call(hook: str) -> str:
    return f"{hook}({', '.join(ARGUMENTS[hook])})"


def _side(hook: str) -> str:
    return hook.removeprefix("on_").removesuffix("_stream")


def _away(hook: str, mode: ProcessingModeConfig) -> str:
    """How a definition says that a hook is not to be called."""
    side = _side(hook)
    if hook in STREAM_HOOKS:
        return f"change {side}BodyMode: STREAM"
    streams = f"{hook}_stream" in mode.hooks
    return f"SKIP {side}HeaderMode" if streams else f"SKIP {side}HeaderMode and {side}BodyMode"


def unused_hooks(policy: Policy) -> Iterator[str]:
    """What to say of each hook of policy.py that no phase of its definition calls. The policy is one that is right."""
    mode = policy.definition.fields.processing_mode
    bound = dict(_bound_names(_parse(policy.sources[POLICY_FILE], POLICY_FILE).body))
    for hook in HOOKS:
        if hook in bound and hook not in mode.hooks:
            yield f"{policy.shown}/{POLICY_FILE}:{bound[hook].lineno}: {hook} of {policy.key} is never called: " + (
                _never_called(hook, mode)
            )


def unread_bodies(policy: Policy) -> Iterator[str]:
    """What to say of each body that policy.py reads and its definition does not ask for: it is None there."""
    mode = policy.definition.fields.processing_mode
    bound = dict(_bound_names(_parse(policy.sources[POLICY_FILE], POLICY_FILE).body))
    for hook in PHASE_HOOKS:
        function, side = bound.get(hook), _side(hook)
        body_mode = mode.request_body_mode if side == "request" else mode.response_body_mode
        if hook not in mode.hooks or not isinstance(function, Function) or body_mode is BodyMode.BUFFER:
            continue
        if line := _reads_body(function):
            yield (
                f"{policy.shown}/{POLICY_FILE}:{line}: {hook} of {policy.key} reads the body, which is None: its "
                f"definition has {body_mode} for {side}BodyMode; to have it write {side}BodyMode: BUFFER"
            )


def _reads_body(function: Function) -> int | None:
    """The first line that reads `body` of what a hook is called with."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    lines = [
        node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "body" and isinstance(node.ctx, ast.Load)
        if isinstance(node.value, ast.Name) and arguments and node.value.id == arguments[0].arg
    ]
    return min(lines, default=None)


def _never_called(hook: str, mode: ProcessingModeConfig) -> str:
    side = _side(hook)
    body_mode = mode.request_body_mode if side == "request" else mode.response_body_mode
    if hook in STREAM_HOOKS:
        return f"its definition has {body_mode} for {side}BodyMode; to have it called write {side}BodyMode: STREAM"
    cure = f"to have it called write {side}HeaderMode: PROCESS"
    if body_mode is BodyMode.STREAM:
        return f"its definition has SKIP for {side}HeaderMode; {cure}"
    more = f"or {side}BodyMode: BUFFER for the body too"
    return f"its definition has SKIP for {side}HeaderMode and {side}BodyMode; {cure}, {more}"


def _bound_names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a module binds at its top level, also by import, by assignment, and below if, try and with."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, statement
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from ((alias.asname or alias.name, statement) for alias in names)
            case ast.Assign(targets=targets):
                yield from ((target.id, statement) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                yield name, statement
            case ast.If() | ast.Try() | ast.With():
                yield from _bound_names(
                    [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
                )


def _takes(function: Function, by_position: tuple[str, ...], named: tuple[str, ...]) -> bool:
    """Whether a call with these by position works, and with what it has of `named` by name."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[len(by_position) : len(positional) - len(arguments.defaults)]
    needed += [
        argument for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default
    ]
    fits = len(by_position) <= len(positional) or arguments.vararg is not None
    return fits and all(argument.arg in named for argument in needed)
