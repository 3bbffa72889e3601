"""The management API as an ASGI application: /v1/… and, beside it, /healthz, /metrics and the Inspector at /.

`table` has its rows, the modules NAME_api.py the endpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.middleware import Middleware

from gatewright_controller.access import Caller
from gatewright_controller.api_folder import ApiFolder
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.inspector import inspector_routes
from gatewright_controller.kinds import Keyring, Kinds, open_kinds
from gatewright_controller.known_tokens import KnownTokens
from gatewright_controller.local.metrics import Measured, Metrics
from gatewright_controller.management import resources_api
from gatewright_controller.management.access import Access, CallerLimits, FindCaller
from gatewright_controller.management.apis_api import ApiEndpoints
from gatewright_controller.management.audit_api import AuditEndpoints
from gatewright_controller.management.auditing import Audited
from gatewright_controller.management.bodies import Bodies
from gatewright_controller.management.callers import permitted
from gatewright_controller.management.consumer_keys_api import ConsumerKeyEndpoints
from gatewright_controller.management.effective_api import EffectiveEndpoints
from gatewright_controller.management.exchange_api import ExchangeEndpoints, ExchangeTimes
from gatewright_controller.management.folder_api import FolderEndpoints
from gatewright_controller.management.gateway_api import GatewayEndpoints
from gatewright_controller.management.log_level_api import LogLevelEndpoints
from gatewright_controller.management.login_api import LoginEndpoints
from gatewright_controller.management.node_api import NodeEndpoints
from gatewright_controller.management.openapi import openapi
from gatewright_controller.management.openapi_api import DocumentEndpoints
from gatewright_controller.management.plan_api import PlanEndpoints
from gatewright_controller.management.policy_api import PolicyEndpoints
from gatewright_controller.management.problems import HANDLERS
from gatewright_controller.management.process_api import ProcessEndpoints
from gatewright_controller.management.request_api import RequestEndpoints, RequestLimits
from gatewright_controller.management.revision_api import RevisionEndpoints
from gatewright_controller.management.secret_keys_api import SecretKeyEndpoints
from gatewright_controller.management.state_api import StateEndpoints
from gatewright_controller.management.table import PARTS, routes_of
from gatewright_controller.management.token_api import TokenEndpoints
from gatewright_controller.nodes.draining import Draining
from gatewright_controller.nodes.node_documents import DocumentLimits, NodeDocuments
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.states import Export, States
from gatewright_controller.nodes.watching import Watching
from gatewright_controller.oidc import People
from gatewright_controller.plans import Plans


@dataclass(frozen=True)
class ApiLimits:
    """What clients may ask of nodes and listeners, and for how long."""

    documents: DocumentLimits = field(default_factory=DocumentLimits)
    exchanges: ExchangeTimes = field(default_factory=ExchangeTimes)
    requests: RequestLimits = field(default_factory=RequestLimits)
    callers: CallerLimits = field(default_factory=CallerLimits)


def create_app(
    controller: Controller,
    gateways: Gateways,
    *,
    token: str = "",
    max_request_bytes: int = 1024 * 1024,
    metrics: Metrics | None = None,
    watching: Watching | None = None,
    people: People | None = None,
    folder: ApiFolder | None = None,
    states: States | None = None,
    export: Export | None = None,
    kinds: Kinds | None = None,
    limits: ApiLimits = ApiLimits(),
) -> Starlette:
    """The ASGI application. An empty `token` without `people` asks for none, and is for loopback only.
    folder: the files that all APIs are taken from."""
    bodies, deployment = Bodies(max_request_bytes), controller.deployment
    kinds = kinds or open_kinds(controller, Keyring())
    metrics = metrics or Metrics(deployment.states, lambda: len(deployment.nodes), lambda: not controller.store.trouble)
    watching = watching or Watching(Observations(deployment))
    documents = NodeDocuments(watching.observations, deployment, limits.documents)
    folder_endpoints = FolderEndpoints(folder)
    endpoints = (
        folder_endpoints,
        ProcessEndpoints(metrics, lambda: controller.store.trouble),
        DocumentEndpoints(lambda: openapi(PARTS)),
        ApiEndpoints(controller, bodies),
        EffectiveEndpoints(controller),
        PlanEndpoints(Plans(controller, gateways, kinds), deployment, bodies, folder),
        PolicyEndpoints(controller, bodies),
        NodeEndpoints(deployment, documents, Draining(deployment)),
        StateEndpoints(states, export),
        LogLevelEndpoints(bodies.json_object),
        GatewayEndpoints(gateways, deployment, bodies.document, bodies.json_object),
        RevisionEndpoints(controller, gateways),
        ExchangeEndpoints(watching, controller, limits.exchanges),
        RequestEndpoints(controller, gateways, watching, limits.requests),
        *(part.endpoints(kinds[name], bodies) for name, part in resources_api.PARTS.items()),
        ConsumerKeyEndpoints(kinds.consumer_keys, bodies.json_object),
        SecretKeyEndpoints(controller.store, kinds.secrets),
        TokenEndpoints(controller.store, bodies.json_object),
        LoginEndpoints(people, bodies.json_object),
        AuditEndpoints(controller.store, controller, gateways, kinds),
    )
    app = Starlette(
        routes=[*routes_of(endpoints, [permitted, folder_endpoints.refuse_writes]), *inspector_routes()],
        middleware=[
            Middleware(Measured, metrics=metrics),
            Middleware(Audited, store=controller.store),
            Middleware(
                Access,
                token=token,
                find=_finding(KnownTokens(controller.store), people),
                limits=limits.callers,
                has_people=people is not None,
            ),
        ],
        exception_handlers=HANDLERS,
    )
    app.router.redirect_slashes = False  # the Host header of the request would say where to
    return app


def _finding(tokens: KnownTokens, people: People | None) -> FindCaller:
    """By a token of this controller, else by a JWT of a person."""

    async def find(text: str) -> Caller | None:
        if caller := await tokens.caller(text):
            return caller
        return await people.caller_of(text) if people else None

    return find
