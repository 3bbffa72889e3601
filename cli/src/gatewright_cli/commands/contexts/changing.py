"""`gatewright context add`, `use` and `remove`. Each returns a sentence on what was done."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace as changed

from gatewright_cli.clients.controller_url import ControllerUrlError, read_controller_url
from gatewright_cli.contexts import Context, Contexts, change_contexts, contexts_file, is_token, refuse_name
from gatewright_cli.mistakes import PreflightError


@dataclass(frozen=True)
class NewContext:
    """A context as the options describe it. token_stdin: whether its token is the line on standard input."""

    name: str
    url: str
    token_file: Path | None = None
    token_stdin: bool = False
    ca: Path | None = None
    in_clear: bool = False

    def read(self) -> Context:
        """The context, with absolute paths. Raises PreflightError with all mistakes."""
        mistakes: list[str] = []
        if self.token_file and self.token_stdin:
            mistakes.append("expected --token-file or --token-stdin, got both: leave one out")
        mistakes += [
            f"{option}: expected a file, got {path}, which is none: correct the path"
            for option, path in (("--token-file", self.token_file), ("--ca", self.ca))
            if path and not path.is_file()
        ]
        mistakes += self._url_mistakes()
        token = sys.stdin.readline().strip() if self.token_stdin and not mistakes else ""
        if self.token_stdin and not mistakes and not is_token(token):
            mistakes.append("--token-stdin: expected a token of printable ASCII characters without spaces, got none")
        if mistakes:
            raise PreflightError(mistakes)
        return Context(self.url, token, _absolute(self.token_file), _absolute(self.ca), self.in_clear)

    def _url_mistakes(self) -> list[str]:
        try:
            url = read_controller_url(self.url)
        except ControllerUrlError as error:
            return [f"--url: {error}"]
        if self.ca and not url.encrypted:
            return [f"expected an https URL with --ca, got {url.text}: change one of the two"]
        if not url.encrypted and not url.is_here and not self.in_clear:
            cure = "name https, or http on this machine with an SSH tunnel, or allow it with --in-clear"
            return [f"--url: expected https to another machine, got {url.text}: {cure}"]
        return []


def add_context(new: NewContext, *, use: bool, replace: bool) -> str:
    """Raises PreflightError."""
    refuse_name(new.name)
    context, file = new.read(), contexts_file()

    def add(contexts: Contexts) -> Contexts:
        if new.name in contexts.contexts and not replace:
            raise PreflightError([f"{file} has a context {new.name} already: choose another name, or --replace it"])
        current = new.name if use else contexts.current
        return changed(contexts, current=current, contexts={**contexts.contexts, new.name: context})

    after = change_contexts(file, add)
    is_current = ", the current one" if after.current == new.name else ""
    return f"{new.name} is {context.url}{is_current}"


def use_context(name: str) -> str:
    """name: "" for none. Raises PreflightError."""
    file = contexts_file()

    def use(contexts: Contexts) -> Contexts:
        if name:
            contexts.find(name, file)
        return changed(contexts, current=name)

    after = change_contexts(file, use)
    if not name:
        return "no context is current: commands use the run of their folder"
    return f"{name} is current: {after.contexts[name].url}"


def remove_context(name: str) -> str:
    """Raises PreflightError."""
    file = contexts_file()

    def remove(contexts: Contexts) -> Contexts:
        contexts.find(name, file)
        left = {other: context for other, context in contexts.contexts.items() if other != name}
        return changed(contexts, current="" if contexts.current == name else contexts.current, contexts=left)

    after = change_contexts(file, remove)
    return f"{name} removed" if after.current else f"{name} removed; no context is current"


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path else ""
