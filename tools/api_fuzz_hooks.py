"""What `make api-fuzz` adds to schemathesis, in whose environment this runs: requests that find something, and rights.

Generated names and documents fit the OpenAPI document and hardly ever a resource that is there. So a part of the
requests is given the names of resources that api_fuzz.py has made, and documents that are valid; which part follows
from the generated request, so that a request is the same when it is repeated. What each operation was answered is
written to a file at the end, for the page of rights.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import urllib.error
import urllib.request
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import schemathesis
from api_fuzz_resources import DOCUMENTS, FOREIGN, GATEWAY, MARK, OWN

SETTING: dict[str, Any] = json.loads(os.environ["API_FUZZ"])
"""url: of the controller. administrator: the administrator's token. token: the role's, with which requests are sent;
rights, is_bound: of that token. answered: the file."""
RIGHTS = set(SETTING["rights"])
REFUSED = (401, 403, 405, 429)
"""405: requests are sent with other methods than the operation's, too. 429: of many without a token that is known."""
NAME = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MISSING = re.compile("has not the right ([a-z:]+)")
REVISIONS = (0, -1, 1)
answered: dict[str, Counter[int]] = defaultdict(Counter)
"""Statuses by `OPERATION WHOSE`, where WHOSE is `own`, `foreign` or `any`."""
atexit.register(lambda: Path(SETTING["answered"]).write_text(json.dumps(answered)))


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Makes a part of the requests ones that find something."""
    draw = zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode())
    name_resource(case, draw)
    if "if-match" in case.headers and draw & 1:
        del case.headers["if-match"]
    if case.meta is None or case.meta.generation.mode.is_positive:
        fill_body(case, draw >> 8)


def name_resource(case: Any, draw: int) -> None:
    """In sequences what another operation has answered stays."""
    places = case.path_parameters
    is_sequence = case.meta is not None and case.meta.phase.name == "stateful"
    if "name" in places and not (is_sequence and NAME.fullmatch(str(places["name"]))):
        places["name"] = (OWN, FOREIGN, f"new-{draw % 5}", places["name"])[draw % 4]
    if "key" in places and draw & 4:
        places["key"] = OWN
    if "revision" in places and not is_sequence and draw & 8:
        places["revision"] = REVISIONS[draw % 3]


def fill_body(case: Any, draw: int) -> None:
    """A body that fits the schema gets what else it needs to be stored."""
    body, operation = case.body, case.operation.definition.raw["operationId"]
    team = (OWN, FOREIGN)[draw % 2]
    if not isinstance(body, dict) or draw & 2:
        return
    if plural_of(case) == "gateway" and "spec" in body:
        case.body = GATEWAY
    elif isinstance(body.get("metadata"), dict) and plural_of(case) in DOCUMENTS[OWN]:
        name = str(case.path_parameters.get("name", f"new-{draw % 5}"))
        case.body = document_of(body, DOCUMENTS[OWN][plural_of(case)], name, draw)
    elif "sources" in body:
        document = [*DOCUMENTS[team].values()][draw % len(DOCUMENTS[team])]
        case.body = {**body, "sources": [{"file": "a.json", "text": json.dumps(document)}]}
    elif operation.startswith("rollBack"):
        case.body = {"revision": REVISIONS[draw % 3]}
    elif operation == "createRecording":
        case.body = {**body, "filter": {"api": team}}
    elif operation == "sendRequest":
        case.body = {**body, "path": f"/{team}/1"}


def document_of(body: dict[str, Any], example: dict[str, Any], name: str, draw: int) -> dict[str, Any]:
    """With the name of the path, a label of the own team, and often with a spec that is valid."""
    document = {**body, "metadata": {**body["metadata"], "name": name}}
    if draw & 4:
        document["metadata"]["labels"] = {"team": OWN}
    if draw & 24:
        document["spec"] = json.loads(json.dumps(example["spec"]).replace(OWN, name))
        if "plan" in document["spec"]:
            document["spec"]["plan"] = OWN
    return document


@schemathesis.hook
def after_call(_: Any, case: Any, response: Any) -> None:
    """Notes the answer, and makes what a request has changed of the resources of both teams what it was."""
    if case.method.lower() == case.operation.method.lower() and has_token(response):
        answered[f"{case.operation.definition.raw['operationId']} {whose(case)}"][response.status_code] += 1
    if case.method != "GET" and response.status_code < 300:
        if whose(case) != "any":
            put_back(plural_of(case), case.path_parameters["name"])
        elif plural_of(case) in ("apply", "gateway"):  # a set may delete what others have
            put_all_back()


def has_token(response: Any) -> bool:
    """Whether the request was sent with the role's token: schemathesis leaves it out now and then, or makes one up."""
    return bool(response.request.headers.get("Authorization") == f"Bearer {SETTING['token']}")


def needs_another_right(response: Any) -> bool:
    """Whether the refusal names a right that the role has not: of a set, each kind of document needs its own."""
    named = MISSING.search(response.text)
    return named is not None and named[1] not in RIGHTS


def whose(case: Any) -> str:
    """Whose resource the request names: `own`, `foreign`, or `any` where it is none of both teams."""
    return {OWN: "own", FOREIGN: "foreign"}.get(case.path_parameters.get("name"), "any")


def plural_of(case: Any) -> str:
    """`apis` of /v1/apis/{name}/status."""
    return str(case.path.split("/")[2])


def put_all_back() -> None:
    """As the administrator; a plan before the consumer that has it."""
    ask("PUT", "/v1/gateway?take_over=true", GATEWAY)
    for team, documents in DOCUMENTS.items():
        for plural in documents:
            put_back(plural, team)


def put_back(plural: str, name: str, **labels: str) -> None:
    """As the administrator. labels: more of them than the resource has."""
    if plural not in DOCUMENTS[name]:
        return
    document = DOCUMENTS[name][plural]
    metadata = document["metadata"]
    changed = {**document, "metadata": {**metadata, "labels": {**metadata["labels"], **labels}} if labels else metadata}
    path = f"/v1/{plural}/{name}"
    if plural == "apis" and ask("GET", path) == 404:
        status = ask("POST", "/v1/apis", changed)
    else:
        status = ask("PUT", f"{path}?take_over=true", changed)
    if status >= 300:
        print(f"api-fuzz: expected the administrator to put {plural}/{name} back, got {status}")
    if plural == "consumers":
        ask("POST", f"{path}/keys", {"name": OWN})


def ask(method: str, path: str, document: Any = None) -> int:
    """The status of the answer."""
    headers = {"authorization": f"Bearer {SETTING['administrator']}", "content-type": "application/json"}
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"{SETTING['url']}{path}", body, headers, method=method)  # noqa: S310 - of our own
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@schemathesis.check
def rights_are_those_of_the_role(_: Any, response: Any, case: Any) -> None:
    """What the role may not do is refused, whatever is wrong with the request besides; what it may is not."""
    right, status = case.operation.definition.raw.get("x-gatewright-right"), response.status_code
    if right is None or not has_token(response):
        return
    if right not in RIGHTS:
        assert status in REFUSED, f"answered {status} without the right {right}"
    elif not SETTING["is_bound"]:
        assert status not in (401, 403) or needs_another_right(response), f"answered {status} with the right {right}"
    elif whose(case) == "foreign":
        assert status >= 300, f"answered {status} for a resource of another team"
    if SETTING["is_bound"]:
        assert MARK not in response.text, f"answered with {MARK}, which resources of another team have"


put_all_back()
ask("DELETE", "/v1/gateway")
for team, documents in DOCUMENTS.items():
    for plural in documents:
        put_back(plural, team, changed="yes")  # so that there are two revisions to compare
put_all_back()
