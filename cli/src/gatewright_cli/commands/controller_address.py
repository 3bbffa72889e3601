"""The controller that a command talks to: a run's on this machine, or one elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node import api_files, operator_secrets
from gatewright_cli.node.finding_run import described, find_run
from gatewright_cli.node.run_dir import RunDirError, read_status


@dataclass(frozen=True)
class ControllerAddress:
    """A controller's URL, what it asks for, and where its run has put the echo, if it has one.

    run: which run it is of, in words; "" where it was named by its URL.
    """

    url: str
    token: str
    echo_port: int | None = None
    run: str = ""

    @property
    def place(self) -> str:
        """For people: the URL, and the run."""
        return f"{self.url}, {self.run}" if self.run else self.url


def controller_address(run_dir: Path | None, controller: str | None) -> ControllerAddress:
    """The controller at a URL, with the token that the environment gives for it; else that of a run on this machine,
    with the run's own. Raises PreflightError.
    """
    if controller is not None:
        if run_dir is not None:
            raise PreflightError(["expected --run-dir or --controller, got both: leave one out"])
        if api_files.http_address(controller) is None:
            raise PreflightError([f"--controller: expected a URL such as http://127.0.0.1:9090, got {controller!r}"])
        return ControllerAddress(controller, operator_secrets.client_token())
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
    return ControllerAddress(status["controller"], token, echo[1] if echo else None, described(run_dir))
