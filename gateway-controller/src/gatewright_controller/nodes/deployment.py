"""What every node should run, what each one was sent, and what it said: an API is deployed when the nodes say so.

Everything here lives on one event loop and is in memory only: nodes say what they run when they connect.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.consumer_index import ConsumerIndex
from gatewright_controller.nodes.node import (
    UNAPPLIED_STATES,
    ApiStatus,
    LackingPolicy,
    Node,
    NodeStatus,
    Unapplied,
    report_gateway,
    status_on,
    together,
)
from gatewright_controller.nodes.refusals import Refusals
from gatewright_controller.nodes.secret_values import SecretValues
from gatewright_controller.nodes.updates import Step
from gatewright_controller.resource.node_gateways import THE_GATEWAY, chosen_for
from gatewright_controller.resource.node_labels import has_labels, labels_text
from gatewright_controller.translate import Bundle

MOST_NAMED = 5
"""Nodes that a reason names; of more it says how many there are."""
UPDATE_BYTES = 2 * 1024 * 1024
"""About how much one Update holds: gRPC's receivers take 4 MiB unless configured otherwise."""


class Deployment:
    """Desired state on one side, nodes on the other. `revision` is that of the store's newest write.

    update_bytes: of bundles that a node is sent at once; a bundle that is larger goes alone. nodes_elsewhere: whether
    other controllers may have nodes that run the same APIs.
    """

    def __init__(self, revision: int = 0, update_bytes: int = UPDATE_BYTES, *, nodes_elsewhere: bool = False) -> None:
        self.revision, self._nodes_elsewhere = revision, nodes_elsewhere
        self._update_bytes = update_bytes
        self.nodes: dict[str, Node] = {}
        self.admin_addresses: dict[str, str] = {}
        """Node → where it answers /metrics, "127.0.0.1:9901", as its newest hello says; kept while it is away."""
        self._desired: dict[str, Bundle] = {}
        self._revisions: dict[str, int] = {}
        """Of each API that there is."""
        self._suspended: dict[str, Bundle] = {}
        self._successors: dict[str, frozenset[str]] = {}
        """Of APIs that are to go: those that take their contexts over."""
        self._leaving: dict[str, set[str]] = {}
        """By API, the nodes that it is not for any more, until it runs on those that it is for now."""
        self._gateway: node_pb2.Gateway | None = None
        self._node_gateways: dict[str, node_pb2.Gateway] = {}
        self._placed: dict[str, Mapping[str, str]] = {}
        """The labels of each NodeGateway's nodes."""
        self.secrets = SecretValues()
        self.consumers = ConsumerIndex()
        self.refusals = Refusals()
        self._changed = asyncio.Event()
        self._stopping = False

    # ------------------------------------------------------------ from the API

    def set_desired(self, bundle: Bundle, revision: int) -> None:
        """The API is to be run as this bundle says. Nodes that it is not for any more go on with what they have of it
        until a node that it is for runs it. What is remembered of that is in memory, as of `remove`."""
        self._note_leaving(bundle)
        self._suspended.pop(bundle.api, None)
        self._successors.pop(bundle.api, None)
        self._desired[bundle.api] = bundle
        self.secrets.use(bundle)
        self._revisions[bundle.api] = revision
        self._changed_api(bundle.api, revision)

    def suspend(self, unserved: Bundle, revision: int) -> None:
        """The API cannot be translated: nodes keep what they have of it, with its Secrets, or answer 503 for it."""
        self._note_leaving(unserved)
        self._desired.pop(unserved.api, None)
        self._successors.pop(unserved.api, None)
        self._suspended[unserved.api] = unserved
        self.secrets.use(unserved)
        self._revisions[unserved.api] = revision
        self._changed_api(unserved.api, revision)

    def revision_of(self, api: str) -> int:
        """Of what nodes are to run of the API; 0 where there is none."""
        return self._revisions.get(api, 0)

    def is_suspended(self, api: str) -> bool:
        """Whether the API is held by `suspend`."""
        return api in self._suspended

    def remove(self, api: str, revision: int, successors: Collection[str] = ()) -> None:
        """No node is to run the API any more. successors: APIs that take its contexts over; a node goes on running it
        until it runs these, so that requests are answered all the time. What is remembered of that is in memory: after
        a restart of this process a node is sent the removal together with them.
        """
        self._suspended.pop(api, None)
        self._desired.pop(api, None)
        self._successors.pop(api, None)
        self._revisions.pop(api, None)
        self._leaving.pop(api, None)
        self.secrets.unuse(api)
        if successors:
            self._successors[api] = frozenset(successors)
        self._changed_api(api, revision)

    def set_gateway(self, gateway: node_pb2.Gateway | None, revision: int) -> None:
        """What nodes are to listen on that no NodeGateway is for; None: what each has."""
        self._gateway = gateway
        self.advance(revision)

    def set_node_gateway(self, name: str, nodes: Mapping[str, str], gateway: node_pb2.Gateway, revision: int) -> None:
        """What nodes with these labels are to listen on."""
        self._placed[name], self._node_gateways[name] = nodes, gateway
        self.advance(revision)

    def remove_node_gateway(self, name: str, revision: int) -> None:
        """There is no such NodeGateway any more."""
        self._placed.pop(name, None)
        self._node_gateways.pop(name, None)
        self.advance(revision)

    def set_secret(self, values: node_pb2.SecretValues, revision: int) -> None:
        """Nodes whose APIs name the Secret get these values of it."""
        self.secrets.put(values)
        self.advance(revision)

    def remove_secret(self, name: str, revision: int) -> None:
        """There is no such Secret any more."""
        self.secrets.drop(name)
        self.advance(revision)

    def set_consumer(self, consumer: node_pb2.Consumer, revision: int) -> None:
        """Nodes get it in the place of the one of this name."""
        self.consumers.put(consumer)
        self._changed_consumer(consumer.name, revision)

    def remove_consumer(self, name: str, revision: int) -> None:
        """There is no such consumer any more."""
        self.consumers.drop(name)
        self._changed_consumer(name, revision)

    def set_plan(self, plan: node_pb2.Plan, revision: int) -> None:
        """Nodes get it in the place of the one of this name."""
        self.consumers.put_plan(plan)
        self.advance(revision)

    def remove_plan(self, name: str, revision: int) -> None:
        """There is no such plan any more."""
        self.consumers.drop_plan(name)
        self.advance(revision)

    def gateway_status(self) -> ApiStatus:
        """What the nodes that no NodeGateway is for make of the Gateway: the worst state of any of them."""
        if (nodes := self._nodes_with(THE_GATEWAY)) or not self.nodes:
            return together(tuple(map(self.gateway_on, nodes)))
        return ApiStatus("pending", "each connected node has a NodeGateway", unplaced=True)

    def node_gateway_status(self, name: str) -> ApiStatus:
        """The same of a NodeGateway and its nodes."""
        if nodes := self._nodes_with(name):
            return together(tuple(map(self.gateway_on, nodes)))
        if name not in self._placed:
            return ApiStatus("rejected", "this release refuses it: see the controller's log")
        labels, known = self._placed[name], self._known_nodes() or "none"
        reason = f"expected a node with {labels_text(labels)}{self._here}, got {known}"
        if fitting := sorted(node.id for node in self.nodes.values() if has_labels(node.labels, labels)):
            others = "have a NodeGateway with more labels, or keep a gateway.yaml of their own"
            reason = f"the nodes with {labels_text(labels)} {others}: {', '.join(fitting)}"
        return ApiStatus("pending", reason, unplaced=bool(self.nodes))

    def gateway_name_of(self, node: Node) -> str:
        """The name of the NodeGateway that the node is to have; "" for the Gateway."""
        return THE_GATEWAY if node.keeps_gateway else chosen_for(node.labels, self._placed)

    def _nodes_with(self, gateway: str) -> list[Node]:
        return [node for _, node in sorted(self.nodes.items()) if self.gateway_name_of(node) == gateway]

    def _gateway_for(self, labels: Mapping[str, str]) -> node_pb2.Gateway | None:
        """What a node with these labels is to listen on; None: what it has."""
        return self._node_gateways.get(chosen_for(labels, self._placed), self._gateway)

    def gateway_on(self, node: Node) -> NodeStatus:
        """What the node makes of the Gateway; of its own, where the controller has none."""
        wanted = self._wanted_gateway(node)
        if (unapplied := node.gateway_unapplied) and unapplied.digest == wanted:
            return NodeStatus(node.id, unapplied.state, unapplied.reason)
        if node.gateway_applied == wanted:
            return NodeStatus(node.id, "deployed")
        return NodeStatus(node.id, "pending", "has not acknowledged it yet")

    async def wait_until_gateway_converged(self, seconds: float) -> ApiStatus:
        """The Gateway's status once every node has said what it makes of it, or after so many seconds."""
        await self._wait_until(
            lambda: bool(self.nodes) and all(map(self._has_answered, self._nodes_with(THE_GATEWAY))), seconds
        )
        return self.gateway_status()

    def _has_answered(self, node: Node) -> bool:
        unapplied = node.gateway_unapplied
        return self._wanted_gateway(node) in (node.gateway_applied, unapplied and unapplied.digest)

    def _wanted_gateway(self, node: Node) -> str:
        """The digest of what the node is to serve: its own, where it keeps that or the controller has none."""
        gateway = self._gateway_for(node.labels)
        return gateway.digest if gateway and not node.keeps_gateway else node.gateway_applied

    def status(self, api: str) -> ApiStatus:
        """What the nodes together make of the API: the worst state of any of them."""
        if api in self._suspended:
            return ApiStatus("rejected", self._suspended[api].message.unserved)
        if (bundle := self._desired.get(api)) is None:
            return ApiStatus("pending", "it is being written or deleted")
        running = self._nodes_of(bundle)
        if self.nodes and not running:
            return ApiStatus("pending", self._lacking_nodes(bundle), unplaced=True)
        return together(tuple(status_on(node, bundle) for node in running))

    def statuses_on(self, node: Node) -> Iterator[tuple[str, NodeStatus]]:
        """What the node makes of each API that it is to run, by name."""
        for api, bundle in sorted((self._desired | self._suspended).items()):
            if not node.is_to_run(bundle):
                continue
            if api in self._suspended:
                yield api, NodeStatus(node.id, "rejected", bundle.message.unserved)
            else:
                yield api, status_on(node, bundle)

    def lacking_on(self, node: Node) -> list[LackingPolicy]:
        """What the node's build lacks of what it is to run, by name and version."""
        apis: dict[tuple[str, str, str], list[str]] = {}
        for api, bundle in sorted(self._desired.items()):
            if node.is_to_run(bundle):
                for missing in node.missing_policies(bundle):
                    apis.setdefault(missing, []).append(api)
        return [LackingPolicy(*missing, tuple(names)) for missing, names in sorted(apis.items())]

    def _nodes_of(self, bundle: Bundle) -> list[Node]:
        """The connected nodes that are to run it, by id."""
        return [node for _, node in sorted(self.nodes.items()) if node.is_to_run(bundle)]

    def _lacking_nodes(self, bundle: Bundle) -> str:
        """Why no node runs it."""
        options = " ".join(f"--node-label {key}={value}" for key, value in sorted(bundle.nodes.items()))
        left = [node.id for node in self.nodes.values() if self._is_needed(bundle.api, node)]
        behind = f"; until then {', '.join(sorted(left))} keeps the version before" if left else ""
        return (
            f"expected a node with {labels_text(bundle.nodes)}{self._here}, got {self._known_nodes()}: "
            f"start a node with {options}, "
            f"or change spec.nodes{behind}"
        )

    @property
    def _here(self) -> str:
        return " at this controller" if self._nodes_elsewhere else ""

    def _known_nodes(self) -> str:
        """The connected nodes with their labels."""
        known = [f"{node.id} ({labels_text(node.labels)})" for _, node in sorted(self.nodes.items())]
        more = len(known) - MOST_NAMED
        return ", ".join([*known[:MOST_NAMED], f"{more} more"] if more > 1 else known)

    def states(self) -> dict[str, int]:
        """How many APIs are in each state."""
        counts: dict[str, int] = dict.fromkeys(("deployed", "pending", "rejected"), 0)
        for api in self._known():
            counts[self.status(api).state] += 1
        return counts

    def is_removed(self, api: str) -> bool:
        """Whether no connected node runs it any more."""
        return all(api not in node.sent and api not in node.removing for node in self.nodes.values())

    async def wait_until_converged(self, api: str, seconds: float, *, changing: bool = False) -> ApiStatus:
        """The API's status once every node has answered, or after so many seconds.

        A node that cannot run it now has answered, too: it goes on trying, for as long as it takes. So has one whose
        build does not fit, unless the nodes are `changing` to another one at this moment.
        """
        await self._wait_until(lambda: self._has_converged(api, changing), seconds)
        return self.status(api)

    async def wait_until_all_converged(self, seconds: float, apis: Collection[str] | None = None) -> None:
        """Returns once every node has answered to all of these APIs, None: to every API, or after so many seconds."""
        await self._wait_until(_of_all(self._known if apis is None else lambda: apis, self._has_converged), seconds)

    def _has_converged(self, api: str, changing: bool = False) -> bool:
        if (bundle := self._desired.get(api)) is None:
            return True
        waits = [
            node
            for node in self._nodes_of(bundle)
            if not node.has_reported(bundle) and (changing or not node.unfit_for(bundle))
        ]
        return bool(self.nodes) and not waits

    async def wait_until_removed(self, apis: Collection[str], seconds: float) -> bool:
        """Whether each of them `is_removed`, waited for as long as that."""
        return await self._wait_until(_of_all(lambda: apis, self.is_removed), seconds)

    def stop(self) -> None:
        """Ends all waiting, and the nodes' streams."""
        self._stopping = True
        self._notify(*self.nodes.values())

    # ------------------------------------------------------------ from the nodes

    def connect(self, hello: node_pb2.Hello) -> Node:
        """A node's newest stream counts: an older one of the same id ends."""
        node = Node.of(hello)
        if hello.HasField("consumers"):
            node.consumers = self.consumers.lacking(hello.consumers)
        if old := self.nodes.get(node.id):
            old.connected = False
            old.news.set()
        self.nodes[node.id] = node
        self._look_at_all(node)
        self._notify(node, *self._dependents())
        return node

    def learn_admin_address(self, hello: node_pb2.Hello) -> bool:
        """Whether the node's admin listener is elsewhere than was known."""
        known = self.admin_addresses.get(hello.node_id, "")
        if hello.admin_address:
            self.admin_addresses[hello.node_id] = hello.admin_address
        else:
            self.admin_addresses.pop(hello.node_id, None)
        return known != hello.admin_address

    def update(self, node: Node, hello: node_pb2.Hello) -> None:
        """The node can run other policies than it said before, or has other labels; what it runs has not changed."""
        newest = Node.of(hello)
        node.policies, node.labels, node.drain = newest.policies, newest.labels, newest.drain
        self._look_at_all(node)
        self._notify(node, *self._dependents())

    def order(self, node: Node, order: node_pb2.Drain) -> None:
        """The node is sent the order on its stream."""
        node.orders.append(order)
        self._notify(node)

    def take_orders(self, node: Node) -> list[node_pb2.Drain]:
        """What the node is still to be sent; from then on it counts as sent."""
        orders, node.orders = node.orders, []
        return orders

    async def wait_until(self, condition: Callable[[], bool], seconds: float, node: Node | None = None) -> bool:
        """Whether the condition came to hold within so many seconds, while the node was connected, if one is given."""
        await self._wait_until(lambda: condition() or (node is not None and not node.connected), seconds)
        return condition()

    def disconnect(self, node: Node) -> None:
        """The node's stream has ended; what it was sent is forgotten."""
        node.connected = False
        if self.nodes.get(node.id) is node:
            del self.nodes[node.id]
        self._notify(node, *self._dependents())

    def is_current(self, node: Node) -> bool:
        """Whether the node is still served on this stream."""
        return node.connected and not self._stopping

    def next_consumers(self, node: Node) -> node_pb2.ConsumerChange | None:
        """What the node lacks of consumers, as far as one message holds it; from then on it counts as sent."""
        return self.consumers.next_change(node.consumers) if node.consumers else None

    def next_update(self, node: Node) -> node_pb2.Update:
        """`next_step` as a message of its own."""
        return self.next_step(node).message

    def next_step(self, node: Node) -> Step:
        """What the node lacks, as far as one message holds it; from then on it counts as sent. May be empty."""
        gone = (api for api in sorted(node.to_look_at & node.sent.keys()) if self._bundle_for(node, api) is None)
        removed = [api for api in gone if not self._is_needed(api, node)]
        bundles = list(self._unsent(node))
        for api in removed:
            del node.sent[api]
        node.to_look_at.difference_update(removed)
        node.removing.update(removed)
        node.sent.update({bundle.api: bundle.digest for bundle in bundles})
        gateway = self._gateway_for(node.labels)
        if gateway and (node.keeps_gateway or gateway.digest == node.gateway_sent):
            gateway = None
        if gateway:
            node.gateway_sent = gateway.digest
        secrets = self.secrets.unsent(self._needed_secrets(node), node.secrets_sent)
        return Step(self.revision, tuple(bundles), tuple(removed), gateway, tuple(secrets))

    def _needed_secrets(self, node: Node) -> set[str]:
        return self.secrets.needed(lambda api: self._runs(node, api), node.applied, node.labels)

    def _may_run(self, api: str, digest: str) -> bool:
        """Whether a node may run a version of the API; one that is away now may, while there is the API."""
        return api in self._revisions or any(node.applied.get(api) == digest for node in self.nodes.values())

    def _runs(self, node: Node, api: str) -> bool:
        """Whether the node runs a version of the API, or is to run one and can."""
        desired = self._desired.get(api)
        return api in node.sent and (api in node.applied or bool(desired and not node.unfit_for(desired)))

    def whole_update(self, labels: Mapping[str, str] | None = None) -> node_pb2.Update:
        """What a new node with these labels, or any labels, that can run everything would be sent, in one message,
        whatever its size, without consumers. It says which APIs are for some nodes alone. Nodes of any labels get the
        Gateway."""
        bundles, gateway = self._bundles_for(labels), self._gateway_for(labels or {})
        update = Step(self.revision, tuple(bundles), gateway=gateway).message
        for bundle in bundles:
            if bundle.nodes:
                update.nodes[bundle.api].labels.update(bundle.nodes)
        return update

    def whole_digest(self, labels: Mapping[str, str] | None = None) -> str:
        """Names what `whole_update` has, for which nodes, and consumers: another one, another digest."""
        gateway = self._gateway_for(labels or {})
        digest = hashlib.sha256((gateway.digest if gateway else "").encode())
        digest.update(f"\n{None if labels is None else sorted(labels.items())}\n{self.consumers.digest}".encode())
        for bundle in self._bundles_for(labels):
            digest.update(f"\n{bundle.digest} {sorted(bundle.nodes.items())}".encode())
        return digest.hexdigest()

    def _bundles_for(self, labels: Mapping[str, str] | None) -> list[Bundle]:
        bundles = self._all_bundles()
        return [bundle for bundle in bundles if labels is None or has_labels(labels, bundle.nodes)]

    def report(self, node: Node, report: node_pb2.Report) -> None:
        """What the node says of the APIs it was sent."""
        dependents = self._dependents()
        for status in report.apis:
            if status.state == node_pb2.ApiStatus.STATE_APPLIED:
                node.applied[status.api] = status.digest
                node.unapplied.pop(status.api, None)
            elif status.state == node_pb2.ApiStatus.STATE_REMOVED:
                node.removing.discard(status.api)
                node.applied.pop(status.api, None)
                node.unapplied.pop(status.api, None)
            elif (state := UNAPPLIED_STATES.get(status.state)) is not None:
                node.unapplied[status.api] = Unapplied(status.digest, state, status.reason)
        self.secrets.forget_earlier(self._may_run)
        self.secrets.forget_sent(self._needed_secrets(node), node.secrets_sent)  # before an API needs one again
        if report.HasField("gateway"):
            report_gateway(node, report.gateway)
        if self._successors and not any(self._successors.keys() & known.sent.keys() for known in self.nodes.values()):
            self._successors.clear()
        if self._leaving:
            known = self._desired | self._suspended
            self._leaving = {api: ids for api, ids in self._leaving.items() if not self._has_arrived(known[api])}
        self._notify(node, *dependents)

    def _dependents(self) -> Collection[Node]:
        """The nodes that may be sent something else once another node has reported, come or gone."""
        return self.nodes.values() if self._successors or self._leaving else ()

    def _note_leaving(self, bundle: Bundle) -> None:
        before = self._desired.get(bundle.api) or self._suspended.get(bundle.api)
        if before is None or before.nodes == bundle.nodes:
            return
        running = {node.id for node in self.nodes.values() if node.is_to_run(before)}
        staying = {node.id for node in self.nodes.values() if node.is_to_run(bundle)}
        leaving = (running | self._leaving.pop(bundle.api, set())) - staying
        if leaving:
            self._leaving[bundle.api] = leaving

    def _is_needed(self, api: str, node: Node) -> bool:
        """Whether the node runs an API that is to go from it, while what takes its place does not run yet."""
        if api not in node.applied:
            return False
        if bundle := self._desired.get(api) or self._suspended.get(api):
            return node.id in self._leaving.get(api, ()) and not self._has_arrived(bundle)
        bundles = (self._desired.get(successor) for successor in self._last_successors(api))
        return any(bundle and not self._has_come(bundle, node) for bundle in bundles)

    def _has_come(self, successor: Bundle, node: Node) -> bool:
        """Whether the successor of what the node runs does so there, or on the nodes that it is for."""
        if node.is_to_run(successor):
            return node.applied.get(successor.api) == successor.digest
        return self._has_arrived(successor)

    def _has_arrived(self, bundle: Bundle) -> bool:
        """Whether a node that the API is for runs it, and the others have said why they do not. Nodes of other
        controllers are not known here: where none of its own is to run it, they may."""
        if not (nodes := self._nodes_of(bundle)):
            return self._nodes_elsewhere
        is_run = any(node.applied.get(bundle.api) == bundle.digest for node in nodes)
        return is_run and all(node.has_reported(bundle) or node.unfit_for(bundle) for node in nodes)

    def _last_successors(self, api: str) -> set[str]:
        """Of successors that are to go themselves, theirs."""
        last, seen, left = set[str](), {api}, [api]
        while left:
            for successor in self._successors.get(left.pop(), frozenset()) - seen:
                seen.add(successor)
                if successor in self._successors:
                    left.append(successor)
                else:
                    last.add(successor)
        return last

    async def pause(self, seconds: float) -> None:
        """Returns after so many seconds, or with `stop`."""
        await self._wait_until(lambda: False, seconds)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    async def wait_for_change(self) -> None:
        """Returns after the next change of anything here."""
        await self._changed.wait()

    def _unsent(self, node: Node) -> Iterator[Bundle]:
        """As far as one message holds it. What is left to look at is what does not fit, and what is to go."""
        size = 0
        for api in sorted(node.to_look_at):
            bundle = self._bundle_for(node, api)
            if bundle and node.sent.get(api) != bundle.digest:
                size += bundle.size
                if size > self._update_bytes and size > bundle.size:
                    return
                yield bundle
            if bundle or api not in node.sent:
                node.to_look_at.discard(api)

    def _bundle_for(self, node: Node, api: str) -> Bundle | None:
        """What the node is to be sent of the API; None where it is not to run it."""
        desired = self._desired.get(api) or self._suspended.get(api)
        return node.wanted(desired) if desired and node.is_to_run(desired) else None

    def _look_at_all(self, node: Node) -> None:
        node.to_look_at = self._known() | node.sent.keys()

    def _all_bundles(self) -> list[Bundle]:
        """By the names of their APIs."""
        return [bundle for _, bundle in sorted((self._desired | self._suspended).items())]

    @property
    def apis(self) -> set[str]:
        """The names of all that there are, served or not."""
        return self._known()

    def _known(self) -> set[str]:
        return self._desired.keys() | self._suspended.keys()

    def _changed_api(self, api: str, revision: int) -> None:
        for node in self.nodes.values():
            node.to_look_at.add(api)
        self.advance(revision)

    def _changed_consumer(self, name: str, revision: int) -> None:
        for node in self.nodes.values():
            if node.consumers:
                node.consumers.names[name] = None
        self.advance(revision)

    def advance(self, revision: int) -> None:
        """The store's newest write is this one, or a newer one."""
        self.revision = max(self.revision, revision)
        self._notify(*self.nodes.values())

    def _notify(self, *nodes: Node) -> None:
        """Wakes all that waits for a change, and the streams of these nodes."""
        for node in nodes:
            node.news.set()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while not condition() and not self._stopping:
                    await self.wait_for_change()
        except TimeoutError:
            pass
        return condition()


def _of_all(names: Callable[[], Iterable[str]], condition: Callable[[str], bool]) -> Callable[[], bool]:
    """Whether the condition holds for all of the names; what it holds for is only asked again once it does for all."""
    left = list[str]()

    def holds() -> bool:
        if not left:
            left.extend(name for name in names() if not condition(name))
        while left and condition(left[-1]):
            left.pop()
        return not left and all(map(condition, names()))

    return holds
