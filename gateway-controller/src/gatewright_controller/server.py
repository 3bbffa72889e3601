"""The process: both listeners, from their start to an orderly stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.os_errors import os_reason

from gatewright_controller.acme.certificates import (
    AcmeCertificates,
    listening,
    wanted_by,
    write_missing_placeholders,
)
from gatewright_controller.acme.challenges import challenge_socket
from gatewright_controller.api_folder import ApiFolder
from gatewright_controller.apis.controller import Controller
from gatewright_controller.following import Following
from gatewright_controller.gateway.gateway_file import read_effective, render
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, Kinds, open_kinds
from gatewright_controller.known_tokens import KnownTokens, NodeTokens
from gatewright_controller.local.acme_folder import write_private
from gatewright_controller.local.loopback import is_loopback
from gatewright_controller.local.metrics import Metrics, serving_metrics
from gatewright_controller.management.access import CallerLimits
from gatewright_controller.management.api import ApiLimits, create_app
from gatewright_controller.management.management_server import STOP_SECONDS, Listener, management_server
from gatewright_controller.model import gateway_from_document, milliseconds
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node_access import NodeAccess, NodeTls, NotNowError
from gatewright_controller.nodes.node_server import ListenError, serving_network, start_node_server
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.states import Export, States
from gatewright_controller.nodes.watching import Watching
from gatewright_controller.oidc import Oidc, People
from gatewright_controller.opening import open_database
from gatewright_controller.plans import Plans
from gatewright_controller.resource.conditions import Conditions, RememberedConditions
from gatewright_controller.resource.definitions import Definitions, definitions_of, load_definitions
from gatewright_controller.resource.private_upstreams import AllowedUpstreamError, PrivateUpstreams
from gatewright_controller.retention import Keep, Pruning
from gatewright_controller.settings import PREFIX, Settings
from gatewright_controller.signed_state import signing_key
from gatewright_controller.store import StorageError, Store
from gatewright_controller.translate import EdgeSettings

if TYPE_CHECKING:
    from gatewright_controller.kubernetes import GatewayApi
    from gatewright_controller.local.listener_tls import ListenerTls

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises `ListenError`, `StoreError`, `Invalid` when it cannot start."""
    address = _api_address(settings)
    tls = _tls(settings)
    stop = _stop_signal()
    async with tls.renewing() if tls else contextlib.nullcontext():
        with _listening(*address) as bound:
            listener = Listener(bound, tls)
            if settings.rendered_gateway:
                await _write_rendered_gateway(settings)
            if (store := await open_database(settings, listener, stop)) is not None:
                with contextlib.closing(store):
                    await _serve_stored(store, settings, listener, stop)
    log.info("stopped")


async def _write_rendered_gateway(settings: Settings) -> None:
    """Before the database is open: a node starts without one. Raises `Invalid`."""
    if not settings.gateway:
        raise Invalid([Mistake("renderedGateway", "expected a Gateway to render, got none: name one with --gateway")])
    document, folder = read_effective(Path(settings.gateway)), Path(settings.acme_folder).absolute()
    try:
        await write_missing_placeholders(folder, wanted_by(gateway_from_document(document)))
        write_private(Path(settings.rendered_gateway), render(document, folder))
    except OSError as error:
        reason = f"it could not be written ({os_reason(error)}): make room, or name another file"
        raise Invalid([Mistake("renderedGateway", reason)]) from None


async def _serve_stored(store: Store, settings: Settings, listener: Listener, stop: asyncio.Event) -> None:
    read_definitions = functools.partial(load_definitions, Path(settings.definitions), settings.system_parameters)
    parse_definitions = functools.partial(definitions_of, system_parameters=settings.system_parameters)
    edge = EdgeSettings(
        request_timeout_ms=milliseconds(settings.request_timeout),
        idle_timeout_ms=milliseconds(settings.idle_timeout),
        connect_timeout_ms=milliseconds(settings.connect_timeout),
        trusted_ca=settings.trusted_ca,
    )
    upstreams = _private_upstreams(settings, listener.socket)
    conditions = Conditions(Path(settings.engine) if settings.engine else None)
    controller = Controller(store, read_definitions, edge, parse_definitions, upstreams, conditions)
    kinds = open_kinds(controller, _keyring(settings))
    file = Path(settings.gateway) if settings.gateway else None
    async with _obtaining(settings, controller.deployment) as acme:
        gateways = Gateways(store, controller.deployment, file, acme)
        controller.gateways.default = gateways.names
        gateways.node_gateways = lambda: controller.gateways.node_gateways
        following = Following(controller, gateways, kinds)
        _load(controller, kinds, gateways)
        async with _people(settings.oidc) as people:
            await _run(controller, (gateways, kinds, following), people, settings, listener, stop)


def _load(controller: Controller, kinds: Kinds, gateways: Gateways) -> None:
    """What nodes are to run, as it is stored at one moment: no API is beside the Defaults of another one."""
    with controller.store.snapshot():
        kinds.load()  # before the APIs that name some of them
        controller.load()
        gateways.load()


async def _run(
    controller: Controller,
    beside: tuple[Gateways, Kinds, Following],
    people: People | None,
    settings: Settings,
    listener: Listener,
    stop: asyncio.Event,
) -> None:
    gateways, kinds, following = beside
    deployment, store = controller.deployment, controller.store
    states, export = _states(settings, deployment)
    metrics = Metrics(
        deployment.states,
        lambda: len(deployment.nodes),
        lambda: not store.trouble,
        state_export=lambda: (export.status.revision, bool(export.status.error)) if export else None,
    )
    observations = Observations(controller.deployment)
    if gateway_api := _gateway_api(settings, controller, gateways, kinds, metrics):
        log.info("is a controller of Gateway API", extra={"controllerName": settings.gateway_api_controller})
    folder = _folder(settings, controller, gateways, kinds)
    if folder:
        await folder.apply()
    app = create_app(
        controller,
        gateways,
        token=settings.token,
        max_request_bytes=settings.max_request_bytes,
        metrics=metrics,
        watching=Watching(observations),
        people=people,
        folder=folder,
        states=states,
        export=export,
        kinds=kinds,
        limits=ApiLimits(callers=CallerLimits(settings.requests_per_second)),
    )
    server = management_server(app, listener.tls)
    network, recheck = _nodes_network(settings, store, deployment), _asking_store(controller.recheck_upstreams)
    if gateway_api and network:
        gateway_api.while_leading = functools.partial(
            serving_network, deployment, observations, recheck, network, states
        )
    keeping = Pruning(controller.store, _keep(settings), metrics.count_pruned)
    tasks = [
        asyncio.create_task(following.run(), name="following other controllers"),
        asyncio.create_task(keeping.run(), name="pruning"),
        *([asyncio.create_task(folder.run(), name="following files")] if folder else []),
        *([asyncio.create_task(export.run(), name="exporting the state")] if export else []),
        *([asyncio.create_task(gateway_api.run(), name="gateway api")] if gateway_api else []),
    ]
    peers = Path(settings.peers) if settings.peers else None
    nodes = await start_node_server(
        controller.deployment,
        observations,
        settings.node_listen,
        peers,
        recheck,
        None if gateway_api else network,
        states,
    )
    serving = asyncio.create_task(server.serve(sockets=[listener.socket]))
    host, port = listener.socket.getsockname()[:2]
    async with serving_metrics(settings.metrics_listen, settings.peers, metrics):
        log.info(
            "ready", extra={"listen": f"{host}:{port}", "tls": bool(listener.tls), "nodeListen": settings.node_listen}
        )
        await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    controller.deployment.stop()
    observations.stop()
    server.ended.set()
    await serving
    await nodes.stop(STOP_SECONDS)


def _keyring(settings: Settings) -> Keyring:
    """Raises `Invalid`."""
    keyring = Keyring(settings.secret_key, Path(settings.secret_key_file) if settings.secret_key_file else None)
    if keyring and importlib.util.find_spec("cryptography") is None:
        cure = "pip install 'gatewright[secrets]', or leave the key out"
        raise Invalid([Mistake.expecting("the package cryptography", "none", cure, field="secretKey")])
    return keyring


def _folder(settings: Settings, controller: Controller, gateways: Gateways, kinds: Kinds) -> ApiFolder | None:
    """The files that all APIs are taken from; None where the management API writes them."""
    if not settings.apis:
        return None
    return ApiFolder(
        Path(settings.apis).absolute(),
        Plans(controller, gateways, kinds),
        lambda: (
            controller.definitions,
            gateways.current_document,
            controller.gateways.node_gateways,
            controller.defaults,
            controller.namespaces,
            controller.deployment.secrets.changes,
        ),
    )


def _gateway_api(
    settings: Settings, controller: Controller, gateways: Gateways, kinds: Kinds, metrics: Metrics
) -> GatewayApi | None:
    """None where this controller is none of Kubernetes'. Raises `Invalid`."""
    if not settings.gateway_api:
        return None
    try:
        from gatewright_controller.kubernetes import GatewayApi, GatewayApiMetrics, Place, open_access, read_template
    except ImportError as error:
        cure = "pip install 'gatewright[kubernetes]', or leave gatewayApi out"
        raise Invalid([Mistake.expecting("httpx", str(error), cure, field="gatewayApi")]) from None
    access, template = open_access(settings.kubeconfig), Path(settings.gateway_api_nodes)
    read_template(template)
    place = Place(settings.gateway_api_controller, settings.gateway_api_namespace or access.namespace, template)
    plans = Plans(controller, gateways, kinds)
    conditions = RememberedConditions(controller.conditions)

    def surroundings() -> tuple[Definitions, Conditions, PrivateUpstreams]:
        return controller.definitions, conditions, controller.upstreams

    gateway_api = GatewayApi(access, place, plans, controller.deployment, surroundings)
    metrics.add(GatewayApiMetrics(gateway_api.counts))
    return gateway_api


def _keep(settings: Settings) -> Keep:
    """How much of the history and the audit log is kept."""
    return Keep(
        settings.history_keep,
        settings.history_keep_deleted_days,
        settings.audit_keep_days,
        settings.audit_keep_entries,
    )


def _states(settings: Settings, deployment: Deployment) -> tuple[States | None, Export | None]:
    """What signs states, and exports them. Raises `Invalid`."""
    if not settings.state_key:
        return None, None
    states = States(deployment, signing_key(Path(settings.state_key)), socket.gethostname())
    return states, Export(states, deployment, settings.state_export) if settings.state_export else None


def _nodes_network(settings: Settings, store: Store, deployment: Deployment) -> tuple[NodeTls, NodeAccess] | None:
    """Where nodes connect over the network, and which may. Raises `ListenError`, `Invalid`."""
    if not settings.node_tls_listen:
        return None
    if not settings.tls_certificate:
        cure = "name tlsCertificate and tlsKey, or leave nodeTlsListen out"
        raise ListenError(f"expected a certificate for nodes over the network, got none; {cure}")
    from gatewright_controller.local.certificate_pair import unreadable  # here, for a start without TLS

    files = settings.tls_certificate, settings.tls_key, settings.node_tls_authority
    if mistakes := list(unreadable(settings.node_tls_authority)) if settings.node_tls_authority else []:
        raise ListenError(f"nodeTlsAuthority: {mistakes[0]}")
    _host_and_port(settings.node_tls_listen)
    known = KnownTokens(store)
    find = NodeTokens(Path(settings.node_token_file), known).caller if settings.node_token_file else known.caller
    access = NodeAccess(_asking_store(find), deployment.refusals)
    return NodeTls(settings.node_tls_listen, *files), access


def _asking_store(ask: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same, for the nodes' side, which knows no store. It raises `NotNowError`."""

    @functools.wraps(ask)
    async def asked(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await ask(*arguments, **named)
        except StorageError as error:
            raise NotNowError(str(error)) from None

    return asked


@contextlib.asynccontextmanager
async def _obtaining(settings: Settings, deployment: Deployment) -> AsyncIterator[AcmeCertificates | None]:
    """Obtains certificates meanwhile; None where no challenge could be answered."""
    if not settings.challenges_listen or not settings.peers:
        yield None
        return
    folder = Path(settings.acme_folder).absolute()
    socket_path = Path(settings.challenges_listen.removeprefix("unix:"))
    socket_path.unlink(missing_ok=True)
    answers = challenge_socket(socket_path, folder, Path(settings.peers))
    acme = AcmeCertificates(folder, functools.partial(listening, deployment))
    await answers.start()
    keeping = asyncio.create_task(acme.run(), name="certificates")
    try:
        yield acme
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await answers.close()


@contextlib.asynccontextmanager
async def _people(oidc: Oidc | None) -> AsyncIterator[People | None]:
    """Asks the OpenID provider meanwhile; None where none is configured. Raises `Invalid`."""
    if oidc is None:
        yield None
        return
    try:
        from gatewright_controller.oidc.people import open_people  # here, for a start without it
    except ImportError as error:
        cure = "pip install 'gatewright[oidc]', or leave oidc out"
        raise Invalid([Mistake.expecting("PyJWT, cryptography and httpx", str(error), cure, field="oidc")]) from None
    async with open_people(oidc) as people:
        yield people


def _private_upstreams(settings: Settings, listener: socket.socket) -> PrivateUpstreams:
    """What this process listens on, and what the operator allows. Raises `Invalid`."""
    own = [listener.getsockname()[:2]]
    if not settings.node_listen.startswith("unix:"):
        own.append(_host_and_port(settings.node_listen))
    try:
        return PrivateUpstreams.of(own, settings.allowed_upstreams)
    except AllowedUpstreamError as error:
        raise Invalid([Mistake("allowedUpstreams", str(error))]) from None


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _api_address(settings: Settings) -> tuple[str, int]:
    host, port = _host_and_port(settings.listen)
    if not is_loopback(host) and not settings.token and settings.oidc is None:
        cure = f"name a file that holds one with --token-file or {PREFIX}TOKEN_FILE, or listen on 127.0.0.1"
        raise ListenError(f"expected a token for the management API on {settings.listen}, got none; {cure}")
    if not is_loopback(host) and not settings.tls_certificate:
        cure = f"name a certificate with --tls-certificate or {PREFIX}TLS_CERTIFICATE, or listen on 127.0.0.1"
        log.warning(f"the token and all answers of the management API on {settings.listen} go in clear: {cure}")
    if not settings.node_listen.startswith("unix:") and not is_loopback(_host_and_port(settings.node_listen)[0]):
        reason = "what nodes are sent is neither encrypted nor asked for with credentials"
        raise ListenError(f"expected unix:PATH or a loopback address for nodes, got {settings.node_listen}; {reason}")
    return host, port


def _tls(settings: Settings) -> ListenerTls | None:
    """Raises `Invalid`."""
    if not settings.tls_certificate:
        return None
    from gatewright_controller.local.listener_tls import ListenerTls  # here, for most controllers have no TLS

    return ListenerTls(settings.tls_certificate, settings.tls_key)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ListenError(f"expected HOST:PORT, got {address!r}")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The port is taken before anything else is started, so a taken one costs nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, for asyncio sends at once (TCP_NODELAY) where it can see that it is TCP.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # so that "ready" is true, whenever the server gets to its first connection
        except OSError as error:
            reason = f"{error.strerror}; stop what uses port {port}, or choose another with --listen"
            raise ListenError(f"cannot listen on {host}:{port}: {reason}") from None
        yield listener
