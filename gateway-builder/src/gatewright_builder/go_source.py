"""Whether a Go policy's sources are a module that exports GetPolicy."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatewright_documents.mistake import Mistake

from gatewright_builder.go_mod import Directive, module_of, read_go_mod
from gatewright_builder.policy import Policy

SDK_MODULE = "gatewright.dev/sdk"
GO_MOD = "go.mod"
DIRECTIVES = ("module", "go", "require", "replace", "exclude", "toolchain", "tool", "godebug", "ignore", "retract")
FOLDER = re.compile(r"\.{0,2}(/|$)")
PACKAGE_LINE = re.compile(rb"^package[ \t]+(\w+)", re.MULTILINE)
GET_POLICY = re.compile(rb"^(func GetPolicy\(|var GetPolicy\b)", re.MULTILINE)


def validate_go_directory_structure(policy: Policy) -> Iterator[Mistake]:
    """go.mod names a module and speaks for no other; its root package is no command and has GetPolicy."""
    yield from _module_mistakes(policy)
    yield from _package_mistakes(policy)


def _module_mistakes(policy: Policy) -> Iterator[Mistake]:
    directives = read_go_mod(policy.sources.get(GO_MOD, b""))
    if not module_of(directives):
        got = "no module line" if GO_MOD in policy.sources else "no such file"
        yield policy.mistake(GO_MOD, "the policy's Go module", got, "run go mod init in its folder")
    for directive in directives:
        if wrong := _wrong(directive):
            yield policy.mistake(GO_MOD, *wrong, directive.line)
    for file in policy.sources:
        if file.endswith(f"/{GO_MOD}"):
            cure = "remove it: what is below belongs to the policy's own module"
            yield policy.mistake(file, "one Go module in a policy's folder", "another one", cure)


def _package_mistakes(policy: Policy) -> Iterator[Mistake]:
    package = {file: content for file, content in policy.sources.items() if re.fullmatch(r"[^/]+\.go", file)}
    if not any(GET_POLICY.search(content) for content in package.values()):
        expected = "func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error)"
        got = "none in its .go files" if package else "no .go file"
        yield Mistake.in_file(policy.shown, expected, got, "export one from the module's root package")
    for file, content in package.items():
        found = PACKAGE_LINE.search(content)
        if found and found[1] == b"main":
            line = content[: found.start()].count(b"\n") + 1
            yield policy.mistake(file, "a package that can be imported", "package main", "rename the package", line)


def _wrong(directive: Directive) -> tuple[str, str, str] | None:
    """What a directive of a policy's go.mod should be, what it is, and the cure.

    A build compiles a copy of the policy in one workspace with the engine: where it replaces or excludes a module, it
    does so for all. The SDK's folder is known without. What Go itself follows in a main module only (toolchain, tool,
    godebug, ignore, retract) is left out of the copy.
    """
    match directive.verb, directive.words:
        case "replace", (module, *version, "=>", folder) if (
            module == SDK_MODULE and len(version) < 2 and FOLDER.match(folder)
        ):
            return None
        case "replace", _:
            cure = "ask for its version by require, or import what stands in for it by its own path"
            return f"no replace but that of {SDK_MODULE} by a folder", str(directive), cure
        case "exclude", _:
            cure = "ask by require for the version that it needs"
            return "no exclude, which would be the engine's too", str(directive), cure
        case "require", words if len(words) != 2:
            return "a module and its version", str(directive), "write one like require example.com/lib v1.2.0"
        case verb, _ if verb not in DIRECTIVES:
            return f"one of {', '.join(DIRECTIVES)}", str(directive), "run go mod tidy in its folder"
    return None
