"""The controller that a command talks to: a run's on this machine, or one elsewhere."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli import api_files
from gatewright_cli.clients.controller_url import ControllerUrl, ControllerUrlError, read_controller_url
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files import operator_secrets
from gatewright_cli.node.files.finding_run import describe_run, find_run
from gatewright_cli.node.files.run_dir import RunDirError, read_status


@dataclass(frozen=True)
class ControllerAddress:
    """A controller's URL and token. echo_port: that of its run's echo upstream, if it has one.

    run: a description of its run, and run_dir: the run's directory; "" and None for a controller named by its URL.
    tls: for an https URL, with the authorities to trust.
    """

    url: str
    token: str
    echo_port: int | None = None
    run: str = ""
    tls: ssl.SSLContext | None = None
    run_dir: Path | None = None

    @property
    def place(self) -> str:
        """For people: the URL, and the run."""
        return f"{self.url}, {self.run}" if self.run else self.url


def controller_address(run_dir: Path | None, controller: NamedController | None) -> ControllerAddress:
    """The controller at a URL, with the token that the environment names; else that of a run on this machine, with the
    run's own token. Raises PreflightError.
    """
    if controller is not None:
        if run_dir is not None:
            raise PreflightError(["expected --run-dir or --controller, got both: leave one out"])
        return _remote_address(controller)
    try:
        run_dir = run_dir or find_run()
        status = read_status(run_dir)
    except RunDirError as error:
        raise PreflightError([f"{error}, or another machine's controller with --controller"]) from error
    if not status["controller"]:
        cure = "name another's with --controller, and no --run-dir"
        raise PreflightError([f"the run in {run_dir} has no controller: {cure}"])
    echo = api_files.http_address(status["echo"] or "")
    token = operator_secrets.read_token(run_dir / operator_secrets.TOKEN_FILE)
    return ControllerAddress(
        status["controller"], token, echo[1] if echo else None, describe_run(run_dir), run_dir=run_dir
    )


def _remote_address(controller: NamedController) -> ControllerAddress:
    """Raises PreflightError, also for http to another machine without --controller-in-clear."""
    try:
        url = read_controller_url(controller.url)
    except ControllerUrlError as error:
        raise PreflightError([f"--controller: {error}"]) from None
    if not url.encrypted and not url.is_here and not controller.in_clear:
        raise PreflightError([_unencrypted_mistake(url)])
    if not url.encrypted and controller.authority:
        raise PreflightError(
            [f"expected an https URL with --controller-authority, got {url.text}: change one of the two"]
        )
    tls = _tls_context(controller.authority) if url.encrypted else None
    return ControllerAddress(url.text, operator_secrets.client_token(), tls=tls)


def _unencrypted_mistake(url: ControllerUrl) -> str:
    port = url.text.rpartition(":")[2] if url.text.rpartition(":")[2].isdecimal() else "80"
    return (
        f"--controller: expected https to another machine, got {url.text}, which sends the token unencrypted: "
        f"run `ssh -L {port}:127.0.0.1:{port} {url.host}` and name http://127.0.0.1:{port}, or name https://{url.host} "
        "with TLS before the controller, or allow it with --controller-in-clear"
    )


def _tls_context(authority: Path | None) -> ssl.SSLContext:
    """Raises PreflightError."""
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise PreflightError([f"--controller-authority: {authority}: {reason}: name a file of certificates"]) from error
