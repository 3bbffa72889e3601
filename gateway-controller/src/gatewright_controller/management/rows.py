"""The management API is a table (decision 75): what a row of it says.

Rows stand beside their endpoints, in the modules NAME_api.py, as the `PART` of each; `table` collects them. Routes, the
refusal of unknown query parameters, the right that a request needs and the OpenAPI document are all made of rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec
from gatewright_documents.values import JsonObject
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.access import Right

JSON = "application/json"

Method = Literal["GET", "POST", "PUT", "DELETE"]
Endpoint = Callable[[Request], Awaitable[Response]]
Unbound = Callable[[Any, Request], Awaitable[Response]]
"""A method of a class of endpoints."""
Shapes = tuple[Any, ...]
"""Types of which msgspec makes a JSON Schema; a value is of any of them."""


CALLER = "gatewright_caller"
"""Of a scope: the `Caller`."""
ROW = "gatewright_row"
"""Of a scope: the `Row` whose endpoint answers."""


class Parameter(msgspec.Struct, frozen=True):
    """Of a query, a path or the headers of a request. schema: JSON Schema of its value; the values of an array stand
    each in a parameter of their own. words: what it does, for the reference.
    """

    name: str
    schema: JsonObject
    words: str


class Body(msgspec.Struct, frozen=True):
    """What a request carries. required: a request without it is refused."""

    shapes: Shapes
    media_types: tuple[str, ...] = (JSON,)
    required: bool = True


class Answer(msgspec.Struct, frozen=True):
    """A response other than an error. shapes: none for a response without a body. headers: by name, what they say."""

    words: str
    shapes: Shapes = ()
    media_types: tuple[str, ...] = (JSON,)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class Row(msgspec.Struct, frozen=True, eq=False):
    """One method of one path. id: its name in the OpenAPI document (`operationId`). words: what it does.

    right: None: no token is asked for. refusals: the statuses of errors of its own, beside those that every row has.
    audit: which requests that are no GET are entered into the audit log because of how they were answered; the store
    enters writes of resources by itself.
    """

    id: str
    method: Method
    path: str
    endpoint: Unbound
    right: Right | None
    words: str
    answers: Mapping[int, Answer]
    in_path: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    body: Body | None = None
    refusals: tuple[int, ...] = ()
    audit: Literal["nothing", "refusals", "all"] = "refusals"


class Part(msgspec.Struct, frozen=True):
    """The rows whose endpoints are methods of one class. title: of its section in the reference."""

    title: str
    endpoints: type[Any]
    rows: tuple[Row, ...]
