"""Whether a Go policy's sources are a package that exports GetPolicy.

The package is the root of a module of its own (go.mod beside it), or one of the packages of the module around it, as
those are that ship: then the policy's folder is taken as a module of its own, under the path that its package has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from gatewright_documents.mistake import Mistake

from gatewright_builder.go_mod import GO_MOD, Directive, module_of, read_go_mod
from gatewright_builder.policy import Policy
from gatewright_builder.source_files import module_around

SDK_MODULE = "gatewright.dev/sdk"
DIRECTIVES = ("module", "go", "require", "replace", "exclude", "toolchain", "tool", "godebug", "ignore", "retract")
FOLDER = re.compile(r"\.{0,2}(/|$)")
PACKAGE_LINE = re.compile(rb"^package[ \t]+(\w+)", re.MULTILINE)
GET_POLICY = re.compile(rb"^(func GetPolicy\(|var GetPolicy\b)", re.MULTILINE)


def validate_go_directory_structure(policy: Policy) -> Iterator[Mistake]:
    """go.mod names a module and speaks for no other; the policy's package is no command and has GetPolicy; it imports
    nothing of its module that lies outside of its folder, for a build has the folder alone.
    """
    yield from _module_mistakes(policy)
    yield from _package_mistakes(policy)
    yield from _outside_mistakes(policy)


def _module_mistakes(policy: Policy) -> Iterator[Mistake]:
    folder, file = policy.origin.folder, GO_MOD
    directives = read_go_mod(policy.sources.get(GO_MOD, b""))
    if module := module_around(folder):
        directives, file = read_go_mod((module / GO_MOD).read_bytes()), os.path.relpath(module / GO_MOD, folder)
    if not module_of(directives):
        got = "no module line" if GO_MOD in policy.sources else "no such file"
        yield policy.mistake(file, "the policy's Go module", got, "run go mod init in its folder")
    for directive in directives:
        if wrong := _wrong(directive):
            yield policy.mistake(file, *wrong, directive.line)
    for file in policy.sources:
        if file.endswith(f"/{GO_MOD}"):
            cure = "remove it: what is below belongs to the policy's own module"
            yield policy.mistake(file, "one Go module in a policy's folder", "another one", cure)


def _package_mistakes(policy: Policy) -> Iterator[Mistake]:
    package = {file: content for file, content in policy.sources.items() if re.fullmatch(r"[^/]+\.go", file)}
    if not any(GET_POLICY.search(content) for content in package.values()):
        expected = "func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error)"
        got = "none in its .go files" if package else "no .go file"
        yield Mistake.in_file(policy.shown, expected, got, "export one from the package in this folder")
    for file, content in package.items():
        found = PACKAGE_LINE.search(content)
        if found and found[1] == b"main":
            line = content[: found.start()].count(b"\n") + 1
            yield policy.mistake(file, "a package that can be imported", "package main", "rename the package", line)


def _outside_mistakes(policy: Policy) -> Iterator[Mistake]:
    module = module_around(policy.origin.folder)
    if module is None:
        return
    around = module_of(read_go_mod((module / GO_MOD).read_bytes()))
    own = module_of(read_go_mod(policy.sources[GO_MOD]))
    import_line = re.compile(rf'^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"({re.escape(around)}/[^"\n]+)"', re.MULTILINE)
    for file, content in policy.sources.items():
        text = content.decode(errors="replace") if file.endswith(".go") else ""
        for found in import_line.finditer(text):
            if not f"{found[1]}/".startswith(f"{own}/"):
                line, cure = text[: found.start(1)].count("\n") + 1, "move what it needs below the policy's folder"
                got = f"an import of {found[1]}"
                yield policy.mistake(file, "a policy that is whole in its folder", got, cure, line)


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
