"""Holds a controller's answers against its OpenAPI document with schemathesis: `make api-fuzz`.

Starts a controller of its own, in a temporary folder, with resources of two teams, and runs `st run` against it: each
operation by what the document lets a client send and by what it forbids, and sequences of operations in which one takes
what another answered. A 5xx, a status, header or body that the document does not have, and data that should have been
refused are failures; each comes with the curl command that repeats it. All of that as each role, at a controller of its
own: what is answered without the right that the document gives the operation is a failure too, and so is what a token
bound to one team gets of the other's (api_fuzz_hooks.py). docs/reference/rights.md is held to the answers to all these
requests, or with --update written from them (api_fuzz_rights.py); a test writes it from one request for each cell.

Operations for which a role has no right get few requests. --short: a few examples of each operation, with a fixed seed,
and no sequences.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from api_fuzz_resources import OWN
from api_fuzz_rights import Answered, contradictions
from gatewright_controller.access import Grant, Scope
from gatewright_controller.management.table import ROWS
from own_environment import install

ROOT = Path(__file__).resolve().parent.parent
DEFINITIONS = ROOT / "gateway-controller" / "tests" / "testdata" / "definitions"
TOKEN = "for-this-run-alone"  # noqa: S105
SHORT_SEED, SHORT_EXAMPLES = 20, 3
LOG = "controller.log"
ROLES = {
    "admin": Grant("admin"),
    "publisher": Grant("publisher"),
    "viewer": Grant("viewer"),
    "node": Grant("node"),
    "bound": Grant("publisher", Scope(labels={"team": OWN})),
}
SETTINGS = """
[auth.openapi.token]
bearer = "TOKEN"
[parameters]
wait = 0 # else requests wait for nodes, of which there are none
[generation]
database = "none"
with-security-parameters = false # else many tokens are made up: test_rights.py asks all without one that is known
allow-extra-parameters = false # a header that is not known is none of an API's business
max-examples = EXAMPLES
[checks]
positive_data_acceptance.enabled = false # an API that fits its schema may still be wrong: 422
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 429] # 412 is first
ignored_auth.enabled = false # after 100 requests without a known token it is 429; test_rights.py asks all without one
[[operations]]
include-operation-id = "watchExchanges"
parameters = {"query.kept" = true, "query.seconds" = 1} # else the answer lasts as long as the client asks for
"""
REFUSED_SETTINGS = """
[[operations]]
include-operation-id = OPERATIONS
phases.coverage.enabled = false
generation.max-examples = 5
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a few examples of each operation, with a fixed seed")
    parser.add_argument("--examples", type=int, default=50, help="of each operation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of a run that is repeated")  # noqa: S311
    parser.add_argument("--role", choices=ROLES, action="append", help="whose requests are sent (default: each one's)")
    parser.add_argument("--update", action="store_true", help="write what the roles are answered to the page of rights")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds the `with` blocks, which leave nothing behind
    answered: dict[str, Answered] = {}
    failed = [role for role in options.role or ROLES if run_as(role, options, answered)]
    wrong = contradictions(answered, update=options.update)
    if failed or wrong:
        failures = f"api-fuzz: failures as {', '.join(failed)}; what repeats them stands above" if failed else ""
        raise SystemExit("\n".join(filter(None, [failures, *wrong])))


def run_as(role: str, options: argparse.Namespace, answered: dict[str, Answered]) -> int:
    """The exit status of schemathesis, as this role at a new controller. answered: gets what the role was answered."""
    with tempfile.TemporaryDirectory(prefix="api-fuzz-") as folder, controller(Path(folder)) as url:
        print(f"api-fuzz: as {role}", flush=True)
        token = TOKEN if role == "admin" else new_token(url, role)
        status = run(Path(folder), url, token, ROLES[role], options)
        if (found := Path(folder) / "answered").exists():
            answered[role] = json.loads(found.read_text())
            print(f"api-fuzz: as {role}: {reach(answered[role], ROLES[role])}", flush=True)
        for error in logged_errors(Path(folder) / LOG):
            print(f"api-fuzz: as {role}: the controller logged\n{error}", flush=True)
    return status


def logged_errors(log: Path) -> list[str]:
    """What the controller said of requests that failed, each text once."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [*dict.fromkeys(str(line.get("error", line)) for line in lines if line.get("level") == "error")]


def reach(answered: Answered, grant: Grant) -> str:
    """How many requests were sent with the role's token, and which of the operations that it may call were never done:
    of what is behind their checks such a run says nothing."""
    allowed = [row.id for row in ROWS if row.right in grant.rights]
    done = {key.split()[0] for key, statuses in answered.items() if any(int(status) < 400 for status in statuses)}
    count = sum(sum(statuses.values()) for statuses in answered.values())
    never = [name for name in allowed if name not in done]
    words = f"never {', '.join(never)}" if never else "each was"
    return f"{count} requests, {len(allowed) - len(never)} of {len(allowed)} operations done; {words}"


def new_token(url: str, role: str) -> str:
    """The text of a token that the controller makes."""
    grant = ROLES[role]
    wanted = {"name": role, "role": grant.role, "labels": dict(grant.scope.labels)}
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/tokens", json.dumps(wanted).encode(), headers)  # noqa: S310 - of our own
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        text: str = json.load(answer)["token"]
    return text


@contextlib.contextmanager
def controller(folder: Path) -> Iterator[str]:
    """The URL of a controller that runs meanwhile."""
    (folder / "token").write_text(TOKEN)
    (folder / "secret-keys").write_text(secrets.token_hex(32))
    command = [
        sys.executable, "-m", "gatewright_controller", "--listen", "127.0.0.1:0",
        "--node-listen", f"unix:{folder}/node.sock", "--database", f"sqlite:{folder}/controller.db",
        "--definitions", str(DEFINITIONS), "--token-file", str(folder / "token"),
        "--secret-key-file", str(folder / "secret-keys"),
    ]  # fmt: skip
    log = folder / LOG
    with log.open("wb") as lines, subprocess.Popen(command, stderr=lines) as process:
        try:
            yield f"http://{address(log, process)}"
        finally:
            process.terminate()


def address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """HOST:PORT, once the controller logs that it is ready."""
    while process.poll() is None:
        for line in log.read_text().splitlines():
            if '"message":"ready"' in line.replace(" ", ""):
                return str(json.loads(line)["listen"])
        time.sleep(0.05)
    raise SystemExit(f"api-fuzz: expected a controller that starts, got one that ended:\n{log.read_text()}")


def run(folder: Path, url: str, token: str, grant: Grant, options: argparse.Namespace) -> int:
    """The exit status of schemathesis."""
    examples, seed = (SHORT_EXAMPLES, SHORT_SEED) if options.short else (options.examples, options.seed)
    settings = folder / "schemathesis.toml"
    settings.write_text(settings_of(token, grant, examples))
    phases = "examples,coverage,fuzzing" if options.short else "examples,coverage,fuzzing,stateful"
    command = [
        str(install("schemathesis") / "bin" / "st"), "--config-file", str(settings), "run", f"{url}/v1/openapi.json",
        "--phases", phases, "--seed", str(seed), "--continue-on-failure", "--no-color",
        "--suppress-health-check", "too_slow",  # of data for a whole API, on a machine that has other work
    ]  # fmt: skip
    setting = {
        "url": url,
        "administrator": TOKEN,
        "token": token,
        "rights": sorted(grant.rights),
        "is_bound": not grant.scope.is_every_api,
        "answered": str(folder / "answered"),
    }
    hooks = {
        "SCHEMATHESIS_HOOKS": "api_fuzz_hooks",
        "PYTHONPATH": str(ROOT / "tools"),
        "API_FUZZ": json.dumps(setting),
    }
    return subprocess.run(command, cwd=folder, check=False, env={**os.environ, **hooks}).returncode


def settings_of(token: str, grant: Grant, examples: int) -> str:
    """The settings of schemathesis: few requests for what the role has no right to."""
    text = SETTINGS.replace("TOKEN", token).replace("EXAMPLES", str(examples))
    refused = [row.id for row in ROWS if row.right is not None and row.right not in grant.rights]
    return text + REFUSED_SETTINGS.replace("OPERATIONS", json.dumps(refused)) if refused else text


if __name__ == "__main__":
    main()
