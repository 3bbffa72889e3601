"""The controller that a command talks to: this is the one place that decides it.

The first of these that names one: --run-dir, --controller or --context, which exclude each other; the variables
GATEWRIGHT_CONTROLLER, GATEWRIGHT_CONTEXT, GATEWRIGHT_RUN_DIR; the current context; the run of the working directory.
docs/how-to/several-controllers.md has the table.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gatewright_cli.addresses import http_address
from gatewright_cli.clients.controller_url import ControllerUrl, ControllerUrlError, read_controller_url
from gatewright_cli.commands.options import CONTROLLER_VARIABLE, NamedController
from gatewright_cli.contexts import contexts_file, file_beside, read_contexts
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files import finding_run, operator_secrets
from gatewright_cli.node.files.controller_tls import read_trust
from gatewright_cli.node.files.run_dir import RunDirError, read_status

CONTEXT_VARIABLE = "GATEWRIGHT_CONTEXT"
ELSEWHERE = "or another machine's controller with --controller or --context"


@dataclass(frozen=True)
class ControllerAddress:
    """A controller's URL and token. echo_port: that of its run's echo upstream, if it has one.

    run: a description of its run, and run_dir: the run's directory; "" and None for a controller named by its URL.
    tls: for an https URL, with what to trust. context: the name of its context; "" for none. chosen_by:
    the option, variable or file that named it.
    """

    url: str
    token: str
    echo_port: int | None = None
    run: str = ""
    tls: ssl.SSLContext | None = None
    run_dir: Path | None = None
    context: str = ""
    chosen_by: str = ""

    @property
    def place(self) -> str:
        """For people: the URL, and the context or the run."""
        name = f"context {self.context}" if self.context else self.run
        return f"{self.url}, {name}" if name else self.url


def controller_address(
    run_dir: Path | None, controller: NamedController | None, environment: Mapping[str, str] = os.environ
) -> ControllerAddress:
    """The controller that the options name, else the environment, else the contexts file, else the working directory.

    Raises PreflightError.
    """
    named = controller or NamedController()
    _refuse_several(run_dir, named)
    from_url, from_context = partial(_url_address, named, environment), partial(_context_address, environment)
    sources: tuple[tuple[str, str | Path | None, Callable[[str, str], ControllerAddress]], ...] = (
        ("--run-dir", run_dir, _run_address),
        ("--controller", named.url, from_url),
        ("--context", named.context, from_context),
        (CONTROLLER_VARIABLE, environment.get(CONTROLLER_VARIABLE) or None, from_url),
        (CONTEXT_VARIABLE, environment.get(CONTEXT_VARIABLE) or None, from_context),
        (finding_run.VARIABLE, environment.get(finding_run.VARIABLE) or None, _run_address),
    )
    for chosen_by, value, find in sources:
        if value is not None:
            return find(str(value), chosen_by)
    if name := read_contexts(file := contexts_file(environment)).current:
        return from_context(name, f"current of {file}")
    try:
        return _run_address(str(finding_run.find_run()), "the working directory")
    except RunDirError as error:
        raise PreflightError([f"{error}, {ELSEWHERE}"]) from error


def _refuse_several(run_dir: Path | None, named: NamedController) -> None:
    options = {"--run-dir": run_dir, "--controller": named.url, "--context": named.context}
    present = [option for option, value in options.items() if value is not None]
    if len(present) > 1:
        got = "both: leave one out" if len(present) == 2 else "all of them: leave two out"
        raise PreflightError([f"expected {' or '.join(present)}, got {got}"])


def _run_address(directory: str, chosen_by: str) -> ControllerAddress:
    """The controller of a run on this machine, with the run's own token. Raises PreflightError."""
    run_dir = Path(directory)
    try:
        status = read_status(run_dir)
        url = status["controller"] or ""
        tls = read_trust(run_dir) if url.startswith("https:") else None
    except RunDirError as error:
        raise PreflightError([f"{error}, {ELSEWHERE}"]) from error
    if not url:
        cure = "name another's with --controller, and no --run-dir"
        raise PreflightError([f"the run in {run_dir} has no controller: {cure}"])
    echo = http_address(status["echo"] or "")
    token = operator_secrets.read_token(run_dir / operator_secrets.TOKEN_FILE)
    return ControllerAddress(
        url,
        token,
        echo[1] if echo else None,
        finding_run.describe_run(run_dir),
        tls,
        run_dir=run_dir,
        chosen_by=chosen_by,
    )


def _url_address(named: NamedController, environment: Mapping[str, str], url: str, chosen_by: str) -> ControllerAddress:
    """The controller at a URL, with the token that the environment names. Raises PreflightError."""
    options = ("--controller-authority", "--controller-in-clear")
    remote = _Remote(chosen_by, url, named.authority, named.in_clear, *options)
    token = operator_secrets.client_token(environment)
    return ControllerAddress(remote.address, token, tls=remote.tls, chosen_by=chosen_by)


def _context_address(environment: Mapping[str, str], name: str, chosen_by: str) -> ControllerAddress:
    """The controller of a context, with the context's own token: that of the environment is for another. Raises
    PreflightError.
    """
    file = contexts_file(environment)
    context = read_contexts(file).find(name, file)
    authority = file_beside(file, context.ca) if context.ca else None
    origin = f"context {name} of {file}"
    remote = _Remote(origin, context.url, authority, context.in_clear, f"{origin}: ca", "inClear: true")
    token_file = file_beside(file, context.token_file) if context.token_file else None
    token = operator_secrets.read_token(token_file) if token_file else context.token
    return ControllerAddress(remote.address, token, tls=remote.tls, context=name, chosen_by=chosen_by)


@dataclass(frozen=True)
class _Remote:
    """A controller that its URL names. origin: what names it; authority_option, clear_option: what names authorities,
    and what allows http to it; all for mistakes.
    """

    origin: str
    url: str
    authority: Path | None
    in_clear: bool
    authority_option: str
    clear_option: str

    @property
    def address(self) -> str:
        """The URL. Raises PreflightError, also for http to another machine unless that is allowed."""
        url = self._read_url()
        if not url.encrypted and not url.is_here and not self.in_clear:
            raise PreflightError([self._unencrypted_mistake(url)])
        return url.text

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context for an https URL; None for http. Raises PreflightError."""
        url = self._read_url()
        if url.encrypted:
            return _tls_context(self.authority, self.authority_option)
        if self.authority:
            expected = f"expected an https URL with {self.authority_option}"
            raise PreflightError([f"{expected}, got {url.text}: change one of the two"])
        return None

    def _read_url(self) -> ControllerUrl:
        try:
            return read_controller_url(self.url)
        except ControllerUrlError as error:
            raise PreflightError([f"{self.origin}: {error}"]) from None

    def _unencrypted_mistake(self, url: ControllerUrl) -> str:
        port = url.text.rpartition(":")[2] if url.text.rpartition(":")[2].isdecimal() else "80"
        return (
            f"{self.origin}: expected https to another machine, got {url.text}, which sends the token unencrypted: "
            f"run `ssh -L {port}:127.0.0.1:{port} {url.host}` and name http://127.0.0.1:{port}, or name "
            f"https://{url.host} with TLS before the controller, or allow it with {self.clear_option}"
        )


def _tls_context(authority: Path | None, option: str) -> ssl.SSLContext:
    """Raises PreflightError."""
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise PreflightError([f"{option}: {authority}: {reason}: name a file of certificates"]) from error
