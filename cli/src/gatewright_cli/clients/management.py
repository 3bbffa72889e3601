"""A client for the controller's REST API, as far as a run uses it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatewright_cli.api_files import ApiFile, below
from gatewright_cli.clients.controller_refusals import (
    DeployError,
    InvalidError,
    NoAnswerError,
    RefusedError,
    raise_without_database,
    read_mistakes,
    refusal_text,
)
from gatewright_cli.clients.plans import Applied, Plan, ResourceSet, conflict_of, request_body
from gatewright_cli.local_http import Answer, LocalClient, LocalHttpError
from gatewright_cli.mistakes import exit_status_of

ANSWER_SECONDS = 40.0
RELOAD_SECONDS = 15
PAGE_SIZE = 1000
"""The most that the controller lists at once."""
SET_SECONDS = 120.0
"""For a set of ten thousand APIs, which are read and checked; beside the time that nodes are waited for."""
DEPLOYED = "deployed"
PENDING = "pending"
REJECTED = "rejected"


class Status(msgspec.Struct, frozen=True):
    """state: DEPLOYED, PENDING or REJECTED; reason: why it is not deployed; revision: of the last change."""

    state: str
    reason: str = ""
    revision: int = 0


class StoredApi(msgspec.Struct, frozen=True):
    """An API as the controller stores it. metadata, spec: the document, with defaults filled in."""

    status: Status
    metadata: dict[str, Any] = {}
    spec: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name", ""))

    @property
    def version(self) -> str:
        return str(self.spec.get("version", ""))

    @property
    def context(self) -> str:
        """The path of the API's operations, with its version filled in."""
        return str(self.spec.get("context", "")).replace("$version", self.version)

    @property
    def hosts(self) -> list[str]:
        """The hosts that the API is served on; none: every host."""
        return [str(host) for host in self.spec.get("hosts", [])]

    def same_as(self, other: StoredApi) -> bool:
        """Whether both have the same document, apart from status and revision."""
        return (self.metadata, self.spec) == (other.metadata, other.spec)


class FolderDocument(msgspec.Struct, frozen=True):
    """A document of the folder that a controller takes all APIs from. state: `served`, or why it is not: `reason`."""

    file: str
    api: str
    state: str
    reason: str


class _Folder(msgspec.Struct):
    files: list[FolderDocument]
    trouble: str


class _Listed(msgspec.Struct):
    apis: list[StoredApi]
    next: str = ""


class Move(msgspec.Struct, frozen=True):
    """An attachment that gets another version of its policy."""

    api: str
    policy: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"API {self.api} has {self.policy} {self.after}, since the build no longer has {self.before} as it was"


class AffectedApi(msgspec.Struct, frozen=True):
    """The state of an API after a change of policies."""

    name: str
    state: str
    reason: str


class PolicyImpact(msgspec.Struct, frozen=True):
    """The effect of new definitions: policies as name:version, moves, and the states of the affected APIs."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    moved: tuple[Move, ...] = ()
    apis: tuple[AffectedApi, ...] = ()

    @property
    def superseded(self) -> tuple[str, ...]:
        """Policies whose running instances end."""
        return (*self.removed, *self.changed)

    @property
    def notes(self) -> list[str]:
        """A sentence for each move, and for each API that is not deployed."""
        undeployed = [f"API {api.name} is {api.state}: {api.reason}" for api in self.apis if api.state != DEPLOYED]
        return [*map(str, self.moved), *undeployed]


class ApiMove(msgspec.Struct, frozen=True):
    """An attachment that would run another version of its policy than it does."""

    field: str
    policy: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {self.policy} {self.before} → {self.after}"


class ApiChange(msgspec.Struct, frozen=True):
    """The effect of a write. kind: created, changed or unchanged; diff: unified, of the API as YAML."""

    kind: str
    moved: tuple[ApiMove, ...] = ()
    diff: str = ""


class GatewayChange(msgspec.Struct, frozen=True):
    """The effect of a new Gateway: listeners by name, and the fields that wait for a restart."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class ObtainedCertificate(msgspec.Struct, frozen=True, rename="camel"):
    """The state of a certificate by ACME. not_after, next: RFC 3339, "" for none; next: when it is obtained, renewed or
    tried again; failures: since the last success; error: of the last failure.
    """

    hosts: tuple[str, ...]
    obtained: bool
    not_after: str
    next: str
    failures: int
    error: str


class GatewayStatus(msgspec.Struct, frozen=True):
    """The state of the Gateway on the nodes, with the same values as an API's."""

    state: str
    reason: str = ""
    change: GatewayChange = GatewayChange()
    certificates: dict[str, ObtainedCertificate] = {}


class _GatewayAnswer(msgspec.Struct):
    status: GatewayStatus


class _StateExport(msgspec.Struct):
    error: str = ""


class ApiDocument(msgspec.Struct, frozen=True):
    """An API's document for a reload with APIs. name: of the API. file: its name in mistakes. terms: of the write, the
    same for all documents of a reload. line: of the file, in which the text begins.
    """

    name: str
    file: str
    text: str
    terms: dict[str, str] = {}
    line: int = 1

    @classmethod
    def of(cls, api: ApiFile, terms: Mapping[str, str] | None = None) -> ApiDocument:
        """The document of an API file."""
        return cls(api.name, str(api.path), api.content.decode(), dict(terms or {}), api.above + 1)


class Management:
    """A client of the controller at a URL ("http://127.0.0.1:9090"). token: the controller's; "" for none. tls: for an
    https URL. terms: of all writes, as the query has them: reason, owner, take_over. page_size: of how many resources
    at a time lists are read.
    """

    def __init__(
        self,
        controller: str,
        token: str,
        tls: ssl.SSLContext | None = None,
        terms: Mapping[str, str] | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._page_size = page_size
        self._client = LocalClient(None, controller, ANSWER_SECONDS, tls)
        self._terms = terms or {}
        if token:
            self._client.headers["authorization"] = f"Bearer {token}"

    async def apis(self, wait: float = 0.0) -> dict[str, StoredApi]:
        """All APIs of the controller, by name. Raises NoAnswerError.

        wait: how many seconds to wait until the nodes have answered for each.
        """
        apis: dict[str, StoredApi] = {}
        answer = await self._ask("GET", "/v1/apis", params={"wait": f"{wait:.3f}", "limit": str(self._page_size)})
        while True:
            if answer.is_error:
                raise NoAnswerError.of(answer)
            page = msgspec.json.decode(answer.content, type=_Listed)
            apis |= {api.name: api for api in page.apis}
            if not page.next:
                return apis
            answer = await self._ask("GET", page.next)

    async def unserved_files(self) -> list[FolderDocument]:
        """The documents of the controller's folder that it does not serve as they are. Raises NoAnswerError."""
        answer = await self._ask("GET", "/v1/files")
        if answer.is_error:
            raise NoAnswerError.of(answer)
        folder = msgspec.json.decode(answer.content, type=_Folder)
        trouble = [FolderDocument("", "", "", folder.trouble)] if folder.trouble else []
        return [*trouble, *(document for document in folder.files if document.state != "served")]

    async def write(self, api: ApiFile) -> StoredApi:
        """Creates or changes the API; does not wait until a node has it. Raises InvalidError, NoAnswerError."""
        answer = await self._write("POST", "/v1/apis", api)
        if answer.status_code == 409:
            answer = await self._write("PUT", f"/v1/apis/{api.name}", api)
        if answer.is_server_error or answer.status_code == 404:  # deleted at this moment
            raise NoAnswerError.of(answer)
        if answer.is_error:
            mistakes = tuple(below(mistake, api.above) for mistake in read_mistakes(answer))
            raise InvalidError(mistakes, exit_status_of(answer.status_code))
        return msgspec.json.decode(answer.content, type=StoredApi)

    async def plan(self, resources: ResourceSet) -> Plan:
        """What applying the set would change, without a change. Raises InvalidError, ConflictError, DeployError."""
        answer = await self._send_set("/v1/plan", request_body(resources), SET_SECONDS, {})
        return msgspec.json.decode(answer.content, type=Plan)

    async def apply(self, resources: ResourceSet, reviewed: Plan | None, wait: float) -> Applied:
        """Applies the set, all or nothing, and waits at most `wait` seconds for the nodes. reviewed: a plan; it is
        applied exactly, or refused. Raises as `plan`.
        """
        reason = {name: text for name, text in self._terms.items() if name == "reason"}  # the set has the others
        query = {"wait": f"{wait:.3f}", **reason}
        body = request_body(resources, reviewed)
        answer = await self._send_set("/v1/apply", body, wait + SET_SECONDS, query)
        return msgspec.json.decode(answer.content, type=Applied)

    async def _send_set(self, path: str, body: bytes, seconds: float, query: dict[str, str]) -> Answer:
        headers = {"content-type": "application/json"}
        answer = await self._ask("POST", path, content=body, headers=headers, params=query, timeout=seconds)
        if answer.status_code == 409:
            raise conflict_of(answer.content)
        if answer.is_server_error:
            raise NoAnswerError.of(answer)
        if answer.status_code == 422:
            raise InvalidError(read_mistakes(answer))
        if answer.is_error:
            raise RefusedError.of(answer)
        return answer

    async def check_policies(self, definitions: Path, apis: Sequence[ApiDocument] = ()) -> PolicyImpact:
        """The effect of the definitions in a folder, and of these APIs, without a change. Raises DeployError with the
        reasons if the controller would refuse them.
        """
        texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(definitions.glob("*.yaml"))}
        return await self.ask_policies(
            "/v1/policies/check", **_json_body({"definitions": texts, "apis": _sources(apis)})
        )

    async def reload_policies(self, apis: Sequence[ApiDocument] = ()) -> PolicyImpact:
        """Has the controller read the policy definitions again and write these APIs, all or nothing, and waits for the
        nodes. Raises DeployError; NoAnswerError if a retry may help.
        """
        body = _json_body({"apis": _sources(apis)}) if apis else {}
        params = {"wait": str(RELOAD_SECONDS), **(apis[0].terms if apis else {})}
        return await self.ask_policies("/v1/policies/reload", params=params, **body)

    async def reload_gateway(self) -> GatewayStatus:
        """Has the controller read the Gateway's file again, and waits for its node. Raises DeployError."""
        answer = await self._ask("POST", "/v1/gateway/reload", params={"wait": str(RELOAD_SECONDS)})
        if answer.is_error:
            raise DeployError(refusal_text(answer, "\n"), exit_status_of(answer.status_code))
        return msgspec.json.decode(answer.content, type=_GatewayAnswer).status

    async def set_log_level(self, level: str) -> None:
        """Changes the controller's log level. Raises DeployError."""
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode({"level": level})
        answer = await self._ask("PUT", "/v1/log-level", content=content, headers=headers)
        if answer.is_error:
            raise DeployError(refusal_text(answer, "\n"), exit_status_of(answer.status_code))

    async def certificates(self) -> dict[str, ObtainedCertificate]:
        """Certificates by ACME, by name. Raises NoAnswerError."""
        answer = await self._ask("GET", "/v1/gateway")
        if answer.is_error:
            raise NoAnswerError.of(answer)
        return msgspec.json.decode(answer.content, type=_GatewayAnswer).status.certificates

    async def state_export_trouble(self) -> str:
        """Why the newest state is not exported; "": it is. Raises NoAnswerError."""
        answer = await self._ask("GET", "/v1/state/export")
        if answer.is_error:
            raise NoAnswerError.of(answer)
        return msgspec.json.decode(answer.content, type=_StateExport).error

    async def ask_policies(self, path: str, **request: Any) -> PolicyImpact:
        """The controller's answer on policy definitions. Raises DeployError, with a line for each mistake."""
        answer = await self._ask("POST", path, **request)
        if answer.is_error:
            raise DeployError(refusal_text(answer, "\n"), exit_status_of(answer.status_code))
        return msgspec.json.decode(answer.content, type=PolicyImpact)

    async def _write(self, method: str, path: str, api: ApiFile) -> Answer:
        media_type = "application/json" if api.path.suffix == ".json" else "application/yaml"
        headers = {"content-type": media_type}
        return await self._ask(method, path, content=api.content, headers=headers, params=self._terms)

    async def read(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a successful answer. Raises DeployError; NoAnswerError if a retry may help."""
        return await self._content("GET", path, params=params or {})

    async def roll_back(self, path: str, revision: int, *, dry_run: bool = False) -> bytes:
        """Has the resource at the path as a revision of it was; the answer as `PUT` gives it. Raises as `read`."""
        query = {**self._terms, **({"dry_run": "true"} if dry_run else {})}
        return await self._content("POST", f"{path}/rollback", params=query, **_json_body({"revision": revision}))

    async def _content(self, method: str, path: str, **request: Any) -> bytes:
        answer = await self._ask(method, path, **request)
        if answer.is_server_error:
            raise NoAnswerError.of(answer)
        if answer.is_error:
            raise InvalidError(read_mistakes(answer), exit_status_of(answer.status_code))
        return answer.content

    async def _ask(self, method: str, path: str, **request: Any) -> Answer:
        try:
            answer = await self._client.request(method, path, **request)
        except LocalHttpError as error:
            raise NoAnswerError(f"the controller gave no answer ({error})") from error
        raise_without_database(answer)
        return answer


def _sources(apis: Sequence[ApiDocument]) -> list[dict[str, str | int]]:
    """The documents as bodies of the controller's have them."""
    return [{"file": api.file, "text": api.text, "line": api.line} for api in apis]


def _json_body(value: object) -> dict[str, Any]:
    return {"content": msgspec.json.encode(value), "headers": {"content-type": "application/json"}}
