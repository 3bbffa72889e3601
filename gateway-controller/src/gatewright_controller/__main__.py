"""`python -m gatewright_controller`: reads the settings and serves; exit status 1 if the operator made a mistake."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's core reads it at import, and logs to stderr as it likes

from gatewright_documents.mistake import Invalid

from gatewright_controller.local import logs
from gatewright_controller.local.private import keep_private
from gatewright_controller.settings import Settings, load_settings, reference

log = logging.getLogger(__name__)


def main() -> int:
    """Returns the exit status."""
    arguments = {name: value for name, value in vars(_parser().parse_args()).items() if value is not None}
    if arguments.pop("print_settings", False):
        sys.stdout.write(reference())
        return 0
    logs.set_up()
    try:
        if written := arguments.pop("print_listeners", None):
            return _print_listeners(written)
        return _run(arguments)
    except Invalid as invalid:
        for mistake in invalid.mistakes:
            log.error(str(mistake))
        return 1


def _print_listeners(written: Path) -> int:
    from gatewright_controller.gateway.gateway_file import envoy_listeners, read_effective

    json.dump(envoy_listeners(read_effective(written)), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0


def _run(arguments: dict[str, Any]) -> int:
    try:
        keep_private()
    except OSError as error:
        log.warning("other processes of this user can read this one", extra={"reason": error.strerror})
    os.umask(0o077)  # the database holds parameters, and parameters hold secrets
    copies = {name: arguments.pop(name) for name in ("back_up", "restore") if name in arguments}
    settings = load_settings(arguments.pop("settings", None), os.environ, arguments)
    logs.set_level(settings.log_level)
    return _copy(settings.database, **copies) if copies else _serve(settings)


def _copy(database: str, back_up: Path | None = None, restore: Path | None = None) -> int:
    """Prints how many APIs were copied."""
    from gatewright_controller.store import StoreError, copies

    try:
        count = copies.back_up(database, back_up) if back_up else copies.restore(restore or Path(), database)
    except StoreError as error:
        log.error(str(error))
        return 1
    sys.stdout.write(f"{count}\n")
    return 0


def _serve(settings: Settings) -> int:
    gc.disable()  # what is imported stays: a collection would go over all of it and find nothing
    from gatewright_controller.nodes.node_server import ListenError  # here, for what only prints does without a server
    from gatewright_controller.server import serve
    from gatewright_controller.store import StorageError, StoreError

    gc.freeze()
    gc.enable()
    try:
        asyncio.run(serve(settings))
    except (ListenError, StorageError, StoreError) as error:
        log.error(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gatewright_controller", description=__doc__)
    parser.add_argument("--listen", metavar="HOST:PORT", help="the management API")
    parser.add_argument("--tls-certificate", metavar="FILE", help="PEM; the management API speaks TLS with it")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM; the certificate's key")
    parser.add_argument("--node-listen", metavar="unix:PATH|HOST:PORT", help="where nodes connect")
    parser.add_argument("--node-tls-listen", metavar="HOST:PORT", help="where nodes connect over the network")
    parser.add_argument("--node-tls-authority", metavar="FILE", help="PEM; who signs the certificates of nodes")
    parser.add_argument("--node-token-file", metavar="FILE", help="tokens by which nodes connect over the network")
    parser.add_argument("--peers", metavar="FILE", help="the pids that may connect to the nodes' socket")
    parser.add_argument("--definitions", metavar="DIR", help="policy definitions")
    parser.add_argument("--gateway", metavar="FILE", help="what nodes listen on")
    parser.add_argument("--rendered-gateway", metavar="FILE", help="gets it as a node's engine reads it")
    parser.add_argument("--acme-folder", metavar="DIR", help="what is obtained by ACME")
    parser.add_argument("--challenges-listen", metavar="unix:PATH", help="where Envoy asks for answers to challenges")
    parser.add_argument("--metrics-listen", metavar="unix:PATH", help="where a node's engine asks for metrics")
    parser.add_argument("--apis", metavar="DIR", help="the files that all APIs are taken from")
    parser.add_argument(
        "--gateway-api", action="store_true", default=None, help="be a controller of Kubernetes' Gateway API"
    )
    parser.add_argument(
        "--gateway-api-controller", metavar="DOMAIN/NAME", help="the controllerName of its GatewayClasses"
    )
    parser.add_argument("--gateway-api-namespace", metavar="NAME", help="where its Lease is, and nodes of Gateways are")
    parser.add_argument("--gateway-api-nodes", metavar="FILE", help="YAML; what they are made from")
    parser.add_argument("--kubeconfig", metavar="FILE", help="how the API server is reached; none: as a pod")
    parser.add_argument("--engine", metavar="FILE", help="the policy engine's program, which checks conditions")
    parser.add_argument("--database", metavar="URL", help="sqlite:PATH or postgresql://…: where APIs are kept")
    parser.add_argument("--database-file", metavar="FILE", help="holds the URL, which may have a password in it")
    parser.add_argument("--last-good", metavar="FILE", help="a node's last good state; it serves without a database")
    parser.add_argument("--state-key", metavar="FILE", help="PEM; the private key that signs states of nodes")
    parser.add_argument("--state-export", metavar="FILE|URL", help="where the state is written after changes")
    parser.add_argument("--token-file", metavar="FILE", help="holds the bearer token of the management API")
    parser.add_argument("--system-parameters-file", metavar="FILE", help="YAML; what policies ask of the operator")
    parser.add_argument("--secret-key-file", metavar="FILE", help="holds the keys that encrypt Secrets")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    parser.add_argument("--settings", metavar="FILE", type=Path, help="YAML; options and environment go over it")
    parser.add_argument("--print-settings", action="store_true", default=None, help="all settings with their comments")
    parser.add_argument("--back-up", metavar="FILE", type=Path, help="copy a PostgreSQL into a new file, and end")
    parser.add_argument("--restore", metavar="FILE", type=Path, help="fill an empty database with a backup, and end")
    parser.add_argument("--print-listeners", metavar="FILE", type=Path, help="of a Gateway, as Envoy is given them")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
