"""Statuses once nodes have answered: what is deployed, pending and rejected."""

from __future__ import annotations

from gatewright_controller.gateway_api import CONTROLLER_NAME, Deployed, Key, Translation, complete, translate
from gatewright_documents.values import JsonObject

from .cases import case

GATEWAY: Key = ("Gateway", "shop", "web")
ROUTE: Key = ("HTTPRoute", "shop", "route")
ADDRESS: JsonObject = {"type": "IPAddress", "value": "192.0.2.1"}


def translated() -> Translation:
    return translate(case("policy-attachments"), CONTROLLER_NAME)


def all_deployed(translation: Translation) -> dict[str, Deployed]:
    return {document["metadata"]["name"]: Deployed("deployed") for document in translation.documents}


def condition(holder: JsonObject, kind: str) -> tuple[str, str]:
    (found,) = [found for found in holder["conditions"] if found["type"] == kind]
    return found["status"], found["reason"]


def test_nothing_is_programmed_before_nodes_have_it() -> None:
    statuses = complete(translated(), {}, {GATEWAY: [ADDRESS]})
    assert condition(statuses[GATEWAY], "Programmed") == ("False", "Pending")
    assert condition(statuses[GATEWAY]["listeners"][0], "Programmed") == ("False", "Pending")
    (parent,) = statuses[ROUTE]["parents"]
    assert condition(parent, "Accepted") == ("True", "Accepted")
    assert condition(parent, "Programmed") == ("Unknown", "Pending")


def test_what_nodes_have_is_programmed() -> None:
    translation = translated()
    statuses = complete(translation, all_deployed(translation), {GATEWAY: [ADDRESS]})
    assert condition(statuses[GATEWAY], "Programmed") == ("True", "Programmed")
    assert statuses[GATEWAY]["addresses"] == [ADDRESS]
    assert [condition(listener, "Programmed") for listener in statuses[GATEWAY]["listeners"]] == [
        ("True", "Programmed"),
        ("True", "Programmed"),
    ]
    assert condition(statuses[ROUTE]["parents"][0], "Programmed") == ("True", "Programmed")
    (ancestor,) = statuses["PolicyAttachment", "shop", "of-the-route"]["ancestors"]
    assert condition(ancestor, "Programmed") == ("True", "Programmed")


def test_a_gateway_without_an_address_is_not_programmed() -> None:
    translation = translated()
    statuses = complete(translation, all_deployed(translation), {})
    assert condition(statuses[GATEWAY], "Programmed") == ("False", "AddressNotAssigned")
    assert condition(statuses[GATEWAY]["listeners"][0], "Programmed") == ("True", "Programmed")


def test_an_address_that_was_asked_for_and_is_not_there() -> None:
    objects = case("policy-attachments")
    spec = objects.by_key[GATEWAY]["spec"]
    spec["addresses"] = [{"type": "IPAddress", "value": "192.0.2.9"}, {"type": "IPAddress"}]
    translation = translate(objects, CONTROLLER_NAME)
    statuses = complete(translation, all_deployed(translation), {GATEWAY: [ADDRESS]})
    assert condition(statuses[GATEWAY], "Programmed") == ("False", "AddressNotUsable")


def test_a_rejection_is_said_at_all_that_the_api_was_made_of() -> None:
    """One of two Apis of a route: the worse counts."""
    translation = translated()
    deployed = all_deployed(translation)
    api = next(name for name, sources in translation.sources.items() if ROUTE in sources)
    deployed[api] = Deployed("rejected", "no such file")
    statuses = complete(translation, deployed, {GATEWAY: [ADDRESS]})
    (parent,) = statuses[ROUTE]["parents"]
    assert condition(parent, "Accepted") == ("False", "UnsupportedValue")
    assert "no such file" in parent["conditions"][0]["message"]
    assert condition(statuses["PolicyAttachment", "shop", "of-the-gateway"]["ancestors"][0], "Accepted") == (
        "False",
        "Invalid",
    )
    assert condition(statuses[GATEWAY], "Programmed") == ("True", "Programmed")


def test_a_status_that_is_wrong_already_stays_as_it_is() -> None:
    translation = translated()
    before = translation.statuses["PolicyAttachment", "shop", "wrong"]
    statuses = complete(translation, all_deployed(translation), {GATEWAY: [ADDRESS]})
    assert statuses["PolicyAttachment", "shop", "wrong"] == before


def test_the_drafts_stay_as_they_are() -> None:
    translation = translated()
    complete(translation, all_deployed(translation), {GATEWAY: [ADDRESS]})
    assert translation == translated()


def test_an_api_without_routes_says_nothing_of_its_gateway() -> None:
    """That of a listener beside others, which no route has."""
    translation = translate(case("isolation"), CONTROLLER_NAME)
    (lonely,) = [
        name
        for name, sources in translation.sources.items()
        if sources == [GATEWAY] and name != translation.documents[0]["metadata"]["name"]
    ]
    deployed = all_deployed(translation) | {lonely: Deployed("rejected", "why not")}
    assert condition(complete(translation, deployed, {GATEWAY: [ADDRESS]})[GATEWAY], "Programmed")[0] == "True"
    deployed = {lonely: Deployed("deployed")}
    assert condition(complete(translation, deployed, {GATEWAY: [ADDRESS]})[GATEWAY], "Programmed")[0] == "False"
