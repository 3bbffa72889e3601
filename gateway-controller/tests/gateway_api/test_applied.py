"""A controller takes all documents of a cluster at once, and again without a change."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import yaml
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.gateway_api import CONTROLLER_NAME, Objects, Translation, translate
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.plans import Intent, Plans
from gatewright_controller.store import Store
from gatewright_controller.translate import EdgeSettings

from .cases import case, shipped_policies
from .test_cases import NAMES

pytestmark = pytest.mark.anyio
KUBERNETES = Intent("kubernetes", prune=True)


@pytest.fixture
async def plans(store: Store) -> Plans:
    """Of a controller with a Gateway of its own, for nodes that are of no Gateway of the cluster."""
    controller = Controller(store, shipped_policies, EdgeSettings())
    gateways = Gateways(controller.store, controller.deployment, None)
    controller.gateways.default = gateways.names
    return Plans(controller, gateways, open_kinds(controller, Keyring()))


def sources(translation: Translation) -> list[ApiSource]:
    return [
        ApiSource(f"{document['metadata']['name']}.yaml", yaml.safe_dump(document).encode())
        for document in translation.documents
    ]


def moved(name: str) -> Iterable[tuple[tuple[str, str, str], dict[str, object]]]:
    """The objects of a case, in namespaces of its own."""
    for (kind, namespace, object_name), found in case(name).by_key.items():
        own = namespace and f"{namespace}-{name}"
        text = yaml.safe_dump(found).replace("namespace: shop", f"namespace: shop-{name}")
        text = text.replace("namespace: other", f"namespace: other-{name}")
        yield (kind, own, object_name), yaml.safe_load(text)


async def test_all_cases_are_one_cluster(plans: Plans) -> None:
    by_key = dict(entry for name in NAMES for entry in moved(name))
    translation = translate(Objects(by_key, shipped_policies()), CONTROLLER_NAME)
    assert len(translation.gateways) > len(NAMES)
    done = await plans.apply(sources(translation), KUBERNETES)
    assert len(done.changes) == len(translation.documents)
    again = await plans.apply(sources(translation), KUBERNETES)
    assert again.changes == ()
    gone = await plans.apply([], KUBERNETES)
    assert len(gone.changes) == len(translation.documents)
