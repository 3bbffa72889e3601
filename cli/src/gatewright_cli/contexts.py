"""The contexts file: the controllers that a user works with, by name.

It may hold their tokens, so a file that others can read is refused, and it is written with mode 600. A change is
atomic: a reader sees the old or the new file, and of two changes at once one is made on the other's result.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from gatewright_cli.clients.controller_url import ControllerUrlError, read_controller_url
from gatewright_cli.mistakes import ExitStatus, PreflightError, refuse

FILE_VARIABLE = "GATEWRIGHT_CONTEXTS"
FILE = Path("gatewright") / "contexts.yaml"
"""In the user's configuration folder."""
OTHERS = 0o077
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
NAME_FORM = "1 to 63 letters, digits, '.', '_' and '-', such as 'production'"


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One controller. token: its token; token_file: the file with it, where it is not in here. ca: a file of the
    authorities that sign the certificate of an https controller; none: the system's. in_clear: whether http to another
    machine is allowed. Files are relative to the folder of the contexts file; `~` is the user's home.
    """

    url: str
    token: Annotated[str, msgspec.Meta(extra_json_schema={"writeOnly": True})] = ""
    token_file: str = ""
    ca: str = ""
    in_clear: bool = False


class Contexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """The file. current: the name of the context that commands use unless they are told another; "" for none."""

    current: str = ""
    contexts: dict[str, Context] = {}

    def find(self, name: str, file: Path) -> Context:
        """The context of this name. Raises PreflightError."""
        if name not in self.contexts:
            known = ", ".join(self.contexts) or "none"
            cure = "correct the name, or add one with `gatewright context add`"
            mistake = f"expected a context of {file} ({known}), got {name!r}: {cure}"
            raise PreflightError([mistake], ExitStatus.NOT_FOUND)
        return self.contexts[name]


def contexts_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The path of the file, which may not exist: GATEWRIGHT_CONTEXTS, else in the user's configuration folder."""
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    home = environment.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / FILE


def read_contexts(file: Path) -> Contexts:
    """The contexts of a file; none if there is no file. Raises PreflightError with all mistakes."""
    try:
        with file.open("rb") as opened:
            _refuse_readable(file, os.fstat(opened.fileno()))
            content = opened.read()
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise PreflightError([f"{file}: {error.strerror}: correct it, or name another with {FILE_VARIABLE}"]) from error
    return _parse(file, content)


def change_contexts(file: Path, change: Callable[[Contexts], Contexts]) -> Contexts:
    """Replaces the file's content by what `change` makes of it, which is returned. Raises PreflightError."""
    file = file.resolve()  # a link stays one
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(file.parent):
            before = read_contexts(file)
            after = change(before)
            if after != before:
                _write(file, after)
    except OSError as error:
        raise PreflightError([f"{file}: {error.strerror}: name another file with {FILE_VARIABLE}"]) from error
    return after


def file_beside(contexts: Path, name: str) -> Path:
    """The path of a file that a context of the file `contexts` names."""
    return contexts.absolute().parent / Path(name).expanduser()


def refuse_name(name: str) -> None:
    """Raises PreflightError unless the text can be a context's name."""
    if not NAME.fullmatch(name):
        raise PreflightError([f"NAME: expected {NAME_FORM}, got {name!r}"])


def is_token(text: str) -> bool:
    """Whether the text can be sent as a token."""
    return bool(text) and all("!" <= character <= "~" for character in text)


def _refuse_readable(file: Path, status: os.stat_result) -> None:
    if status.st_mode & OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise PreflightError([f"{file}: expected mode 600, since it may hold tokens, got {mode:o}: chmod 600 {file}"])
    if status.st_uid not in (os.geteuid(), 0):
        cure = f"name a file of your own with {FILE_VARIABLE}"
        raise PreflightError(
            [f"{file}: expected a file of the user {os.geteuid()}, got one of {status.st_uid}: {cure}"]
        )


def _parse(file: Path, content: bytes) -> Contexts:
    from gatewright_documents.document import read_document
    from gatewright_documents.mistake import Unreadable
    from gatewright_documents.yaml_reader import JSON_TYPES

    try:
        document = read_document(content, str(file), JSON_TYPES)
    except Unreadable as unreadable:
        raise PreflightError([str(mistake) for mistake in unreadable.mistakes]) from None
    if document.value is None:
        return Contexts()
    try:
        contexts = msgspec.convert(document.value, Contexts)
    except msgspec.ValidationError:
        from gatewright_documents.strict import mistakes_of

        mistakes = [document.located(mistake) for mistake in mistakes_of(Contexts, document.value)]
        raise PreflightError([str(mistake) for mistake in mistakes]) from None
    refuse([
        str(document.mistake(("contexts", name, *field), expected, got, cure))
        for name, context in contexts.contexts.items()
        for field, expected, got, cure in _context_mistakes(name, context)
    ])  # fmt: skip
    return contexts


def _context_mistakes(name: str, context: Context) -> Iterator[tuple[tuple[str, ...], str, str, str]]:
    """Of each mistake its field, what was expected, what is there, and the cure."""
    if not NAME.fullmatch(name):
        yield (), f"a name of {NAME_FORM}", repr(name), "correct the name"
    if context.token and not is_token(context.token):
        yield ("token",), "printable ASCII characters without spaces", "others", "copy the token again"
    if context.token and context.token_file:
        yield ("tokenFile",), "either token or tokenFile", "both", "leave one out"
    try:
        read_controller_url(context.url)
    except ControllerUrlError as error:
        expected, _, got = str(error).removeprefix("expected ").partition(", got ")
        yield ("url",), expected, got, "correct it"


def _write(file: Path, contexts: Contexts) -> None:
    """Raises OSError."""
    from gatewright_documents.yaml_writer import yaml_text

    descriptor, scratch = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(yaml_text(msgspec.to_builtins(contexts)))
            opened.flush()
            os.fsync(opened.fileno())
        Path(scratch).replace(file)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits for the folder's lock, and holds it. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
