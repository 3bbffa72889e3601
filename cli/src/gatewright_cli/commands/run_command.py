"""`gatewright run`: its options. `run/` implements them."""

from __future__ import annotations

import click

from gatewright_cli.commands.options import A_PATH, ANY_PATH, ENGINE, IMPORT_LIMIT, MANIFEST, OUTPUT, STATE_DIR
from gatewright_cli.commands.units import DURATION, LABEL, SIZE, UIDS
from gatewright_cli.isolation.executor_users import FIRST, LAST
from gatewright_cli.node.listeners.ports import ECHO_PORT

PORT = click.IntRange(0, 65535)


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--manifest", type=A_PATH, default=MANIFEST, show_default=True, help="Build this first.")
@click.option("--output", type=A_PATH, default=OUTPUT, show_default=True, help="The folder to build into.")
@IMPORT_LIMIT
@ENGINE
@click.option("--build", "build_output", type=A_PATH, help="Run this build output as it is; build nothing.")
@click.option(
    "--gateway",
    type=A_PATH,
    help="The Gateway: the document of what to listen on. [default: gateway.yaml beside the manifest]",
)
@click.option(
    "--secrets",
    type=A_PATH,
    help="The folder of the secrets' files, which parameters name. [default: secrets beside the manifest]",
)
@click.option("--host", help="The address of the first listener. [default: the Gateway's, or 127.0.0.1]")
@click.option("--port", type=PORT, help="Its port; 0: a free one. [default: the Gateway's, or 8080]")
@click.option("--controller-host", default="127.0.0.1", show_default=True, help="The address of the management API.")
@click.option("--controller-port", type=PORT, default=9090, show_default=True, help="Its port; 0: a free one.")
@click.option(
    "--controller-tls-certificate",
    type=A_PATH,
    envvar="GATEWRIGHT_CONTROLLER_TLS_CERTIFICATE",
    help="Its certificate in PEM, with those of its authorities: it speaks TLS."
    " [default: GATEWRIGHT_CONTROLLER_TLS_CERTIFICATE, or none: HTTP]",
)
@click.option(
    "--controller-tls-key",
    type=A_PATH,
    envvar="GATEWRIGHT_CONTROLLER_TLS_KEY",
    help="The certificate's key in PEM. [default: GATEWRIGHT_CONTROLLER_TLS_KEY]",
)
@click.option(
    "--nodes-listen",
    metavar="HOST:PORT",
    help="Where nodes of other machines join this controller; it shows them its certificate.",
)
@click.option(
    "--nodes-authority",
    type=A_PATH,
    help="PEM file of who signs the certificates of those nodes. [default: none, they have tokens with the role node]",
)
@click.option("--no-controller", is_flag=True, help="Run the node alone, from its last good state.")
@click.option(
    "--join", metavar="HOST:PORT", help="Take the APIs from a controller elsewhere; no controller is started here."
)
@click.option("--join-authority", type=A_PATH, help="PEM file of who signs that controller's certificate.")
@click.option(
    "--join-token-file",
    type=A_PATH,
    envvar="GATEWRIGHT_JOIN_TOKEN_FILE",
    help="The file of a token of that controller, with the role node. [default: GATEWRIGHT_JOIN_TOKEN_FILE]",
)
@click.option("--join-certificate", type=A_PATH, help="PEM file of this node's certificate, which names its id.")
@click.option("--join-key", type=A_PATH, help="PEM file of its key.")
@click.option(
    "--join-gateway",
    is_flag=True,
    help="Listen as that controller says for this node's labels, once it answers. Else by this run's own Gateway.",
)
@click.option("--state-dir", type=ANY_PATH, default=STATE_DIR, show_default=True, help="The state that outlives a run.")
@click.option(
    "--state-from",
    multiple=True,
    metavar="FILE|URL",
    envvar="GATEWRIGHT_STATE_FROM",
    help="A signed state to start from where the state directory has none; repeatable, tried in order."
    " [default: GATEWRIGHT_STATE_FROM, or none]",
)
@click.option("--state-authority", type=A_PATH, help="PEM file of the public keys whose signature of a state counts.")
@click.option("--state-oldest", type=DURATION, help="How old such a state may be, as 24h. [default: any age]")
@click.option(
    "--state-token-file", type=A_PATH, help="The token for other nodes and controllers that --state-from names."
)
@click.option(
    "--state-tls-authority",
    type=A_PATH,
    help="PEM file of who signs the certificates of https URLs of --state-from. [default: the system's authorities]",
)
@click.option(
    "--state-listen",
    metavar="HOST:PORT",
    help="Where other nodes get the controller's signed state by TLS, with the token of --state-token-file.",
)
@click.option("--state-listen-certificate", type=A_PATH, help="Its certificate in PEM.")
@click.option("--state-listen-key", type=A_PATH, help="The certificate's key in PEM.")
@click.option(
    "--state-key",
    type=A_PATH,
    envvar="GATEWRIGHT_CONTROLLER_STATE_KEY",
    help="The private key by which this run's controller signs states. [default: GATEWRIGHT_CONTROLLER_STATE_KEY]",
)
@click.option(
    "--state-export",
    metavar="FILE|URL",
    envvar="GATEWRIGHT_CONTROLLER_STATE_EXPORT",
    help="Where it writes the state after changes. [default: GATEWRIGHT_CONTROLLER_STATE_EXPORT]",
)
@click.option(
    "--run-dir",
    type=A_PATH,
    envvar="GATEWRIGHT_RUN_DIR",
    help="Sockets and status.json. [default: GATEWRIGHT_RUN_DIR, or a new private directory]",
)
@click.option("--apis", type=A_PATH, help="API file, or folder of them, to deploy. [default: apis beside the manifest]")
@click.option(
    "--files-only",
    is_flag=True,
    help="The files of --apis have all APIs: saved and deleted ones are followed, and the management API writes none.",
)
@click.option(
    "--with-echo",
    is_flag=True,
    default=None,
    help="Also run the echo upstream. [default: if an API's upstream is its address, and the address is free]",
)
@click.option(
    "--echo-port",
    type=PORT,
    default=ECHO_PORT,
    show_default=True,
    help="Its port; 0: a free one.",
)
@click.option(
    "--executors",
    type=click.IntRange(1, 99),
    default=1,
    show_default=True,
    help="Processes per group of Python policies.",
)
@click.option("--node-id", help="The node's name for the controller. [default: the host's name]")
@click.option(
    "--node-label",
    "node_labels",
    metavar="KEY=VALUE",
    type=LABEL,
    multiple=True,
    envvar="GATEWRIGHT_NODE_LABELS",
    help="A label of the node, by which APIs choose nodes; repeatable. [default: GATEWRIGHT_NODE_LABELS, or none]",
)
@click.option("--bootstrap", type=A_PATH, help="Envoy's bootstrap template. [default: the one that ships]")
@click.option(
    "--access-log",
    help="A file for JSON lines; /dev/stdout: stdout, in --log-format; /dev/null: no access log."
    " [default: the Gateway's, or /dev/stdout]",
)
@click.option(
    "--access-log-sample",
    type=click.FloatRange(0, 1),
    help="The share of requests that have an access line; those answered with 500 and above always have one."
    " [default: the Gateway's, or 1.0]",
)
@click.option(
    "--underscored-headers",
    type=click.Choice(["refuse", "drop", "allow"]),
    help="For headers with _ in their name: refuse the request (400), drop the headers, or pass them. Upstreams may"
    " take _ for -. [default: the Gateway's, or refuse]",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="How long open requests may take to end when the run stops.",
)
@click.option("--watch", is_flag=True, help="Reload when build.yaml or a policy's file has changed.")
@click.option(
    "--executor-drain",
    type=DURATION,
    default="30s",
    show_default=True,
    help="How long a replaced executor may take to end its executions.",
)
@click.option("--recycle-after", type=DURATION, help="Replace executors of this age, as 24h. [default: never]")
@click.option(
    "--recycle-executions", type=click.IntRange(1), help="Replace executors after so many executions. [default: never]"
)
@click.option(
    "--executor-memory-limit",
    type=SIZE,
    help="Replace executors that hold this much, as 512MiB; at twice as much their allocations fail. [default: none]",
)
@click.option(
    "--hung-limit",
    type=click.IntRange(1),
    help="Replace executors in which this many workers hang. [default: a quarter of its workers]",
)
@click.option(
    "--health-limit",
    type=DURATION,
    default="3s",
    show_default=True,
    help="Kill executors that answer no health check for this long; after half of it a replacement starts.",
)
@click.option(
    "--silence-limit",
    type=DURATION,
    default="5s",
    show_default=True,
    help="Kill the controller, the engine or Envoy if it neither answers nor uses CPU nor logs for this long.",
)
@click.option(
    "--memory",
    type=SIZE,
    help="Memory for all processes, as 4GiB. [default: the container's limit, or the machine's memory]",
)
@click.option(
    "--body-memory",
    type=SIZE,
    help="Memory for all bodies that policies read; beyond it, 503. [default: 128MiB, or 1/8 of --memory]",
)
@click.option(
    "--request-limit",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long the gateway waits for a body that a policy wants whole, and at most for headers; 0s: any time.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    help="Connections of clients at once. [default: 50000, or half of the files that a process may open]",
)
@click.option(
    "--admin-port",
    type=click.IntRange(1, 65535),
    help="Where the node answers /metrics, /healthz and /ready. [default: the Gateway's, or 9901, or a free one]",
)
@click.option(
    "--engine-scheduling",
    type=click.Choice(["batch", "normal"]),
    default="batch",
    show_default=True,
    help="batch: the policy engine preempts no process when it wakes. Best, unless others keep all cores busy.",
)
@click.option(
    "--pass-env",
    multiple=True,
    metavar="NAME",
    help="A variable of your environment to pass on to policies; repeatable. [default: none but a fixed list]",
)
@click.option(
    "--isolation",
    type=click.Choice(["none", "landlock", "user"]),
    default="landlock",
    show_default=True,
    help="How executors are confined. landlock: by the kernel; user: also as a user of its own for each group.",
)
@click.option(
    "--executor-uids",
    type=UIDS,
    default=f"{FIRST}-{LAST}",
    show_default=True,
    help="The uids of --isolation user.",
)
@click.option(
    "--executor-open-files",
    type=click.IntRange(64),
    default=4096,
    show_default=True,
    help="Files and connections that an executor may have open.",
)
@click.option(
    "--executor-file-size",
    type=SIZE,
    default="1GiB",
    show_default=True,
    help="The largest file an executor may write.",
)
@click.option(
    "--executor-processes",
    type=click.IntRange(300),
    default=2048,
    show_default=True,
    help="Processes and threads that an executor may have. Enforced with --isolation user.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Fail if an API is not deployed or a certificate cannot be used. [default: serve the others]",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of all processes but Envoy, whose is --envoy.log-level.",
)
@click.pass_context
def run(context: click.Context, /, **options: object) -> None:
    """Run a whole node: controller, executors, policy engine, Envoy. Prints `ready URL` once it serves.

    --py.NAME VALUE goes to the executors, --pe.NAME VALUE to the policy engine, --envoy.NAME VALUE to Envoy.
    """
    from gatewright_cli.node.files import operator_secrets

    operator_secrets.start_without_secrets()  # first: it may start the program anew
    from gatewright_cli.run import startup
    from gatewright_cli.run.options import Options

    context.exit(startup.run(Options(**options), context.args))  # type: ignore[arg-type]
