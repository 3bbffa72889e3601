"""From objects of Kubernetes to documents, nodes and statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.apis import Apis, RouteFindings
from gatewright_controller.gateway_api.attaching import AttachedRoute, Parent, refuse_mixed_kinds, routes_of
from gatewright_controller.gateway_api.backend_tls import BackendTls
from gatewright_controller.gateway_api.cluster import Cluster, generation_of
from gatewright_controller.gateway_api.conditions import condition, good_or, joined
from gatewright_controller.gateway_api.contract import Key, Objects, Translation
from gatewright_controller.gateway_api.gateways import OurGateway, class_problem, class_status, gateways_of, our_classes
from gatewright_controller.gateway_api.policy_attachments import PolicyAttachments
from gatewright_controller.gateway_api.rules import Rules


def translate(objects: Objects, controller_name: str) -> Translation:
    """What becomes of all objects; the same for the same objects. controller_name: of the GatewayClasses that are ours.

    It raises for no object that the API server has let: what cannot be followed is in the object's status.
    """
    cluster, made = Cluster(objects), Translation()
    classes = our_classes(cluster, controller_name)
    made.statuses.update({("GatewayClass", "", name): class_status(found) for name, found in classes.items()})
    accepted = [name for name, found in classes.items() if class_problem(found) is None]
    gateways = {gateway.key: gateway for gateway in gateways_of(cluster, accepted)}
    routes = routes_of(cluster, gateways)
    refuse_mixed_kinds(routes)
    tls, attachments = BackendTls(cluster), PolicyAttachments(cluster, gateways, routes)
    apis = Apis(cluster, Rules(cluster, tls), attachments, routes)
    for gateway in gateways.values():
        _serve(made, gateway, apis)
    for route in routes:
        made.statuses[route.key] = _route_status(route, apis, controller_name)
    _count(gateways, routes, made.statuses)
    made.statuses.update({key: gateway.status() for key, gateway in gateways.items()})
    made.statuses.update(tls.statuses(controller_name))
    made.statuses.update(attachments.statuses(controller_name))
    return made


def _serve(made: Translation, gateway: OurGateway, apis: Apis) -> None:
    """Its NodeGateway comes behind its Apis, which may name files of it."""
    if not gateway.serves:
        return
    found = list(apis.of(gateway))
    made.documents.append(gateway.document())
    made.sources[gateway.document_name] = [gateway.key]
    made.gateways.append(gateway.nodes())
    for api in found:
        made.documents.append(api.document)
        made.sources[api.document["metadata"]["name"]] = api.sources


def _route_status(route: AttachedRoute, apis: Apis, controller_name: str) -> JsonObject:
    generation = generation_of(route.raw)
    return {
        "parents": [
            {
                "parentRef": parent.ref,
                "controllerName": controller_name,
                "conditions": _conditions(parent, apis.check(route, parent.gateway), generation),
            }
            for parent in route.parents
        ]
    }


def _conditions(parent: Parent, findings: RouteFindings, generation: int) -> list[JsonObject]:
    wrong = joined(problem for problems in findings.problems.values() for problem in problems)
    nothing = len(findings.dropped) == findings.rules
    accepted = parent.accepted or (wrong if nothing else None)
    made = [
        good_or("Accepted", accepted, generation),
        good_or("ResolvedRefs", joined(findings.unresolved), generation),
    ]
    if wrong and not nothing:
        rules = ", ".join(str(index) for index in sorted(findings.dropped))
        message = f"Dropped Rule {rules}, whose requests are answered 500: {wrong.message}"
        made.append(
            condition("PartiallyInvalid", is_true=True, reason=wrong.reason, message=message, generation=generation)
        )
    return made


def _count(
    gateways: Mapping[Key, OurGateway], routes: Sequence[AttachedRoute], statuses: Mapping[Key, JsonObject]
) -> None:
    """Routes that are accepted, at each listener that they attach to."""
    for route in routes:
        for parent, status in zip(route.parents, statuses[route.key]["parents"], strict=True):
            if status["conditions"][0]["status"] == "True":
                for listener in gateways[parent.gateway.key].listeners:
                    if listener.name in parent.hostnames:
                        listener.attached.add(route.key)
