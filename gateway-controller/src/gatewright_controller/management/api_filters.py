"""Which resources a list is asked for: `?name=GLOB`, `?owner=NAME`, `?label=team=payments`, of APIs `?state=STATE`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec
from starlette.requests import Request

from gatewright_controller.management.authors import OWNER_SCHEMA, owner_of
from gatewright_controller.management.pages import NAME, fits_name
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import choice
from gatewright_controller.management.rows import Parameter
from gatewright_controller.model.common import LABEL_KEY, LABEL_VALUE
from gatewright_controller.store import StoredApi

STATE = Parameter("state", {"enum": ["deployed", "pending", "rejected"]}, "Only those in this state.")
OWNED_BY = Parameter("owner", OWNER_SCHEMA, "Only those of this owner.")
_LABEL = re.compile(f"^{LABEL_KEY}(={LABEL_VALUE})?$")
LABEL = Parameter(
    "label",
    {
        "type": "array",
        "items": {"type": "string", "pattern": _LABEL.pattern, "examples": ["team=payments", "team"]},
    },
    "Only those with this label, or with one of this key; given several times: with all of them.",
)
API_FILTERS = (NAME, STATE, OWNED_BY, LABEL)


class ResourceFilter(msgspec.Struct, frozen=True):
    """What a request asks for. owner: "" for any. labels: each key with its value; "" for any value."""

    request: Request
    owner: str
    labels: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, request: Request) -> ResourceFilter:
        """Raises `Problem`."""
        texts = request.query_params.getlist(LABEL.name)
        return cls(request, owner_of(request), tuple(map(_parse_label, texts)))

    def fits(self, name: str, owner: str, labels: Mapping[str, str]) -> bool:
        """Whether a resource is asked for."""
        return self.owner in ("", owner) and has_labels(labels, self.labels) and fits_name(self.request, name)


class ApiFilter(msgspec.Struct, frozen=True):
    """What a request asks for of APIs. state: "" for any."""

    resources: ResourceFilter
    state: str

    @classmethod
    def of(cls, request: Request) -> ApiFilter:
        """Raises `Problem`."""
        return cls(ResourceFilter.of(request), choice(request, STATE))

    def fits(self, stored: StoredApi, state: Callable[[], str]) -> bool:
        """state: what has become of the API, of all nodes; it is asked only where it counts."""
        fits = self.resources.fits(stored.name, stored.owner, stored.api.metadata.labels)
        return fits and (not self.state or self.state == state())


def has_labels(labels: Mapping[str, str], asked: tuple[tuple[str, str], ...]) -> bool:
    """Whether all that are asked for are among the labels; "" stands for any value."""
    return all(key in labels and value in ("", labels[key]) for key, value in asked)


def _parse_label(text: str) -> tuple[str, str]:
    if not _LABEL.fullmatch(text):
        raise Problem(400, f"expected label to be KEY=VALUE or KEY, such as team=payments, got {text[:150]!r}")
    key, _, value = text.partition("=")
    return key, value
