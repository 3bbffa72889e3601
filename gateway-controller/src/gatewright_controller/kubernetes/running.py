"""The parts of the room together: an election, and what its winner does for as long as it leads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api import KINDS, WatchedKind, translate
from gatewright_controller.kubernetes.api_access import ApiAccess
from gatewright_controller.kubernetes.backoff import Backoff
from gatewright_controller.kubernetes.cache import Cache
from gatewright_controller.kubernetes.client import ApiClient, open_client
from gatewright_controller.kubernetes.documents import Documents
from gatewright_controller.kubernetes.infrastructure import DEPLOYMENT, Infrastructure
from gatewright_controller.kubernetes.leader import Election
from gatewright_controller.kubernetes.lease import Term
from gatewright_controller.kubernetes.metrics import Counts
from gatewright_controller.kubernetes.node_template import DIGEST, Placement, read_template
from gatewright_controller.kubernetes.paths import DEPLOYMENTS, Resource
from gatewright_controller.kubernetes.reconciler import Reconciler, Surroundings
from gatewright_controller.kubernetes.statuses import Statuses
from gatewright_controller.kubernetes.tolerant import TolerantTranslation
from gatewright_controller.kubernetes.watching import Selection, Watch
from gatewright_controller.kubernetes.writing import Writer
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.plans import Plans
from gatewright_controller.store import Author
from gatewright_controller.times import utc_now

log = logging.getLogger(__name__)
QUERIES = {"Secret": {"fieldSelector": "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"}}
"""Of kinds of which not all objects are needed."""
KEPT_DATA = {"ConfigMap": ("ca.crt",), "Secret": ("ca.crt", "tls.crt", "tls.key")}
"""The keys of data that are kept; others may be large, and are not for this controller."""
WITHOUT_STATUS = ("ReferenceGrant",)
GROUPS = ("gateway.networking.k8s.io", "gatewright.dev")
"""Of the kinds that have statuses of ours."""


class Place(msgspec.Struct, frozen=True):
    """Where a controller of Gateway API is. namespace: of its Lease, and of the Deployments that it makes. template:
    the file of these."""

    controller_name: str
    namespace: str
    template: Path

    @property
    def lease(self) -> str:
        """The name of the Lease: controllers with the same name of a controller are one."""
        return self.controller_name.replace("/", "-").lower()


class GatewayApi:
    """One for each controller. `run` it until it is cancelled."""

    def __init__(
        self,
        access: ApiAccess,
        place: Place,
        plans: Plans,
        deployment: Deployment,
        surroundings: Callable[[], Surroundings],
    ) -> None:
        self._access, self._place, self._deployment, self._surroundings = access, place, deployment, surroundings
        self._documents = Documents(plans, deployment)
        self._cache: Cache | None = None
        self.while_leading: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext
        """What is open for as long as this controller leads. Nodes are connected to the leader alone, since it says
        what has become of their Gateways."""
        self.counts = Counts(
            objects=lambda: self._cache.counts() if self._cache else {},
            refused=lambda: len(self._documents.refused) if self._cache else 0,
        )

    async def run(self) -> None:
        """Until it is cancelled; then the Lease is given back."""
        identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        backoff = Backoff(first=1.0)
        async with open_client(self._access) as client:
            while True:
                election = Election(client, self._place.namespace, self._place.lease, identity)
                self.counts.election = election
                try:
                    await election.run(partial(self._lead, client, Author("kubernetes", identity)))
                except Exception:
                    log.exception("the election has failed; it begins anew")
                await asyncio.sleep(backoff.next_pause())

    async def _lead(self, client: ApiClient, author: Author, term: Term) -> None:
        cache = self._cache = Cache([*(watched.kind for watched in KINDS), DEPLOYMENT])
        reconciler = self._reconciler(client, cache, author, term)
        tasks = [
            *(asyncio.create_task(Watch(client, found, cache).run(), name=found.kind) for found in self._selections()),
            asyncio.create_task(reconciler.run(), name="reconciling"),
        ]
        try:
            async with self.while_leading():
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            self._cache = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _reconciler(self, client: ApiClient, cache: Cache, author: Author, term: Term) -> Reconciler:
        writer, place = Writer(client, term), self._place
        return Reconciler(
            cache,
            TolerantTranslation(partial(translate, controller_name=place.controller_name)),
            self._documents,
            Infrastructure(
                writer, cache, partial(read_template, place.template), place.namespace, place.controller_name
            ),
            Statuses(writer, cache, _with_statuses(), place.controller_name, _condition_time, self.counts.count_status),
            writer,
            self._deployment,
            self._surroundings,
            author,
            self.counts.note_sync,
        )

    def _selections(self) -> Iterator[Selection]:
        for watched in KINDS:
            prepare = partial(_with_data, KEPT_DATA[watched.kind]) if watched.kind in KEPT_DATA else _whole
            query = QUERIES.get(watched.kind, {})
            yield Selection(watched.kind, _resource(watched), "", query, watched.required, prepare)
        labels = Placement(self._place.namespace, self._place.controller_name, None).labels
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())}
        yield Selection(DEPLOYMENT, DEPLOYMENTS, self._place.namespace, query)


def _resource(watched: WatchedKind) -> Resource:
    return Resource(watched.group, watched.version, watched.plural)


def _with_statuses() -> dict[str, Resource]:
    kinds = (watched for watched in KINDS if watched.group in GROUPS and watched.kind not in WITHOUT_STATUS)
    return {watched.kind: _resource(watched) for watched in kinds}


def _whole(found: JsonObject) -> JsonObject:
    return found


def _with_data(names: Collection[str], found: JsonObject) -> JsonObject:
    """With what stands in the data under these names. Programs that elect leaders write annotations of ConfigMaps every
    other second: only this controller's own annotation is kept."""
    data = {name: value for name, value in (found.get("data") or {}).items() if name in names}
    digest = {name: value for name, value in (found["metadata"].get("annotations") or {}).items() if name == DIGEST}
    return {**found, "metadata": {**found["metadata"], "annotations": digest}, "data": data}


def _condition_time() -> str:
    """By whole seconds, as metav1.Time has them."""
    return utc_now().isoformat(timespec="seconds").replace("+00:00", "Z")
