"""The secrets that an operator gives a run: the management API's token, the system parameters of policies, and the keys
that encrypt Secrets.

They come in environment variables, or better in files that variables name. Every process of the same user can read the
environment that a process started with (proc(5), /proc/PID/environ), also after that process has changed its own copy.
So a run that finds secrets there executes itself again (execve(2)) without them, and passes them on in memory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.files.run_dir import RunDir

TOKEN = "GATEWRIGHT_CONTROLLER_TOKEN"  # noqa: S105 - the name of a variable
SYSTEM_PARAMETERS = "GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS"
SECRET_KEY = "GATEWRIGHT_CONTROLLER_SECRET_KEY"  # noqa: S105 - the name of a variable
HANDED_OVER = "GATEWRIGHT_SECRETS_FD"
"""Names the descriptor of a memfd with their values as JSON, for the program that is executed again."""
TOKEN_FILE = "management-token"  # noqa: S105 - the name of a file
SYSTEM_PARAMETERS_FILE = "system-parameters.yaml"
SECRET_KEY_FILE = "secret-keys"  # noqa: S105 - the name of a file
TOKEN_BYTES = 32

Environment = MutableMapping[str, str]


@dataclass(frozen=True, repr=False)
class OperatorSecrets:
    """token: of the management API. system_parameters: YAML, as the operator wrote it. secret_key: keys that came in a
    variable; "" for none, and for those in a file, which the controller reads itself, again and again.
    """

    token: str
    system_parameters: str
    secret_key: str = ""

    def write(self, run_dir: RunDir) -> None:
        """Writes the secrets into files of the run directory, 0600, which are removed with it."""
        run_dir.write(TOKEN_FILE, f"{self.token}\n")
        run_dir.write(SYSTEM_PARAMETERS_FILE, self.system_parameters)
        if self.secret_key:
            run_dir.write(SECRET_KEY_FILE, f"{self.secret_key}\n")


def start_without_secrets(environment: Environment = os.environ) -> None:
    """If secrets are in the environment, executes the program again, with the same arguments and pid, and does not
    return; `from_environment` then finds them.
    """
    secrets = {name: environment[name] for name in (TOKEN, SYSTEM_PARAMETERS, SECRET_KEY) if environment.get(name)}
    if not secrets:
        return
    descriptor = os.memfd_create("gatewright-secrets", 0)  # 0: it outlives execve
    os.write(descriptor, json.dumps(secrets).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    left = {name: value for name, value in environment.items() if name not in secrets}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**left, HANDED_OVER: str(descriptor)})  # noqa: S606


def from_environment(environment: Environment = os.environ) -> OperatorSecrets:
    """The secrets from `start_without_secrets`, or from the files that the environment names; a random token if there
    is none. Removes all variables for secrets from the environment.

    Raises PreflightError with every mistake.
    """
    secrets, mistakes = _handed_over(environment), list[str]()
    for name in (TOKEN, SYSTEM_PARAMETERS):
        environment.pop(name, None)  # empty: `start_without_secrets` removes others
        file = environment.pop(f"{name}_FILE", "")
        if not file:
            continue
        if secrets.get(name):
            mistakes.append(f"expected either {name} or {name}_FILE, got both: leave one out")
            continue
        try:
            secrets[name] = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            mistakes.append(f"{name}_FILE: expected a file that can be read, got {file}: {reason}")
    environment.pop(SECRET_KEY, None)
    if secrets.get(SECRET_KEY) and environment.get(f"{SECRET_KEY}_FILE"):
        mistakes.append(f"expected either {SECRET_KEY} or {SECRET_KEY}_FILE, got both: leave one out")
    token = secrets.get(TOKEN)
    if token is not None and not _is_token(token.strip()):
        mistakes.append(f"{TOKEN}: expected a token of printable ASCII characters without spaces, got other characters")
    if mistakes:
        raise PreflightError(mistakes)
    own = os.urandom(TOKEN_BYTES).hex()
    own_token = own if token is None else token.strip()
    return OperatorSecrets(own_token, secrets.get(SYSTEM_PARAMETERS, ""), secrets.get(SECRET_KEY, ""))


def client_token(environment: Mapping[str, str] = os.environ) -> str:
    """The token for a controller elsewhere, from the environment; "" for none. Raises PreflightError."""
    if token := environment.get(TOKEN, ""):
        return token.strip()
    if not (file := environment.get(f"{TOKEN}_FILE", "")):
        return ""
    return read_token(Path(file))


def read_token(file: Path) -> str:
    """The token in a file. Raises PreflightError."""
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        raise PreflightError([f"{file}: expected a file with the management API's token: {reason}"]) from error
    if token and not _is_token(token):
        raise PreflightError([f"{file}: expected the management API's token alone, got more: copy the token again"])
    return token


def _handed_over(environment: Environment) -> dict[str, str]:
    if (descriptor := environment.pop(HANDED_OVER, "")) == "":
        return {}
    try:
        with os.fdopen(int(descriptor), "rb") as file:
            secrets: dict[str, str] = json.load(file)
    except (ValueError, OSError) as error:
        raise PreflightError([f"{HANDED_OVER} is a variable of gatewright's own: unset it"]) from error
    return secrets


def _is_token(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)
