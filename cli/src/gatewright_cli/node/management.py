"""The controller's REST API, as far as a run uses it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from gatewright_controller.problem_types import NO_DATABASE
from gatewright_documents.mistake import Mistake

from gatewright_cli.node.api_files import ApiFile, below
from gatewright_cli.supervision.local_http import Answer, LocalClient, LocalHttpError

ANSWER_SECONDS = 40.0
RELOAD_SECONDS = 15
DEPLOYED = "deployed"
PENDING = "pending"
REJECTED = "rejected"


class Status(msgspec.Struct, frozen=True):
    """state: DEPLOYED, PENDING or REJECTED; reason: why it is not deployed; revision: of the last change."""

    state: str
    reason: str = ""
    revision: int = 0


class StoredApi(msgspec.Struct, frozen=True):
    """An API as the controller has it. metadata, spec: the document, with what the controller has filled in."""

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
        """The path that its operations are below, with its version filled in."""
        return str(self.spec.get("context", "")).replace("$version", self.version)

    @property
    def hosts(self) -> list[str]:
        """Those that it is served on; none: every one."""
        return [str(host) for host in self.spec.get("hosts", [])]

    def same_as(self, other: StoredApi) -> bool:
        """Whether both are the same document; status and revision aside."""
        return (self.metadata, self.spec) == (other.metadata, other.spec)


class _Listed(msgspec.Struct):
    apis: list[StoredApi]


class _ProblemError(msgspec.Struct):
    message: str
    field: str = ""
    line: int = 0


class _Problem(msgspec.Struct):
    type: str = ""
    detail: str = ""
    errors: list[_ProblemError] = []


class Move(msgspec.Struct, frozen=True):
    """An attachment that gets another version of its policy."""

    api: str
    policy: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"API {self.api} has {self.policy} {self.after}, since the build no longer has {self.before} as it was"


class AffectedApi(msgspec.Struct, frozen=True):
    """What has become of an API."""

    name: str
    state: str
    reason: str


class PolicyImpact(msgspec.Struct, frozen=True):
    """What other definitions mean: policies as name:version, moves, and what has become of the APIs concerned."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    moved: tuple[Move, ...] = ()
    apis: tuple[AffectedApi, ...] = ()

    @property
    def superseded(self) -> tuple[str, ...]:
        """Policies of which nothing that runs now goes on."""
        return (*self.removed, *self.changed)

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that somebody may want to know."""
        unwell = [f"API {one.name} is {one.state}: {one.reason}" for one in self.apis if one.state != DEPLOYED]
        return [*map(str, self.moved), *unwell]


class ApiMove(msgspec.Struct, frozen=True):
    """An attachment that would run another version of its policy than it does."""

    field: str
    policy: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {self.policy} {self.before} → {self.after}"


class ApiChange(msgspec.Struct, frozen=True):
    """What a write would do. kind: created, changed or unchanged; diff: unified, of the API as YAML."""

    kind: str
    moved: tuple[ApiMove, ...] = ()
    diff: str = ""


class _TriedStatus(msgspec.Struct):
    change: ApiChange


class _TriedAnswer(msgspec.Struct):
    status: _TriedStatus


class GatewayChange(msgspec.Struct, frozen=True):
    """What another Gateway means: listeners by name, and the fields that wait for a restart."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class ObtainedCertificate(msgspec.Struct, frozen=True, rename="camel"):
    """How a certificate is that is obtained by ACME. not_after, next: RFC 3339, "" for none; next: when it is obtained,
    renewed or tried again; failures: since the last success; error: why the last one."""

    hosts: tuple[str, ...]
    obtained: bool
    not_after: str
    next: str
    failures: int
    error: str


class GatewayStatus(msgspec.Struct, frozen=True):
    """What nodes have made of it: state as an API's."""

    state: str
    reason: str = ""
    change: GatewayChange = GatewayChange()
    certificates: dict[str, ObtainedCertificate] = {}


class _GatewayAnswer(msgspec.Struct):
    status: GatewayStatus


class ApiDocument(msgspec.Struct, frozen=True):
    """An API's document as the controller takes it with others. name: of the API. file: as mistakes are to name it.
    text: with an empty line for each line above the document in its file.
    """

    name: str
    file: str
    text: str

    @classmethod
    def of(cls, api: ApiFile) -> ApiDocument:
        """As it is on disk."""
        return cls(api.name, str(api.path), "\n" * api.above + api.content.decode())


class DeployError(Exception):
    """The controller, or a node, did not take something: what, and all that was said."""


class NoAnswerError(DeployError):
    """The controller is away, or cannot answer now: it may help to ask again."""


class NoDatabaseError(NoAnswerError):
    """The controller cannot open its database, and tries again by itself: the message has the reason and the cure."""


class InvalidError(DeployError):
    """The controller refuses a definition, and will until somebody changes something."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("; ".join(sentences(mistakes)))
        self.mistakes = mistakes


class Management:
    """A client of the controller at a URL ("http://127.0.0.1:9090"). token: what it asks for; "" for none. tls: of an
    https URL.
    """

    def __init__(self, controller: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self._client = LocalClient(None, controller, ANSWER_SECONDS, tls)
        if token:
            self._client.headers["authorization"] = f"Bearer {token}"

    async def apis(self, wait: float = 0.0) -> dict[str, StoredApi]:
        """All that the controller has, by name. Raises NoAnswerError.

        wait: how many seconds to wait until its nodes have said of each what they make of it.
        """
        answer = await self._ask("GET", "/v1/apis", params={"wait": f"{wait:.3f}"})
        if answer.is_error:
            raise NoAnswerError(said(answer))
        return {api.name: api for api in msgspec.json.decode(answer.content, type=_Listed).apis}

    async def write(self, api: ApiFile) -> StoredApi:
        """Creates or changes the API; does not wait until a node has it. Raises InvalidError, NoAnswerError."""
        return msgspec.json.decode((await self._created_or_replaced(api)).content, type=StoredApi)

    async def try_write(self, api: ApiFile) -> ApiChange:
        """What `write` would change; changes nothing. Raises InvalidError, NoAnswerError."""
        answer = await self._created_or_replaced(api, dry_run="true")
        return msgspec.json.decode(answer.content, type=_TriedAnswer).status.change

    async def _created_or_replaced(self, api: ApiFile, **query: str) -> Answer:
        answer = await self._write("POST", "/v1/apis", api, query)
        if answer.status_code == 409:
            answer = await self._write("PUT", f"/v1/apis/{api.name}", api, query)
        if answer.is_server_error or answer.status_code == 404:  # deleted at this moment
            raise NoAnswerError(said(answer))
        if answer.is_error:
            raise InvalidError(tuple(below(mistake, api.above) for mistake in _mistakes(answer)))
        return answer

    async def check_policies(self, definitions: Path, apis: Sequence[ApiDocument] = ()) -> PolicyImpact:
        """What it would mean to have the definitions in a folder, and these APIs. Raises DeployError with what stands
        against it.
        """
        texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(definitions.glob("*.yaml"))}
        return await self.ask_policies("/v1/policies/check", **_json_body({"definitions": texts, "apis": apis}))

    async def reload_policies(self, apis: Sequence[ApiDocument] = ()) -> PolicyImpact:
        """Has the controller read the policy definitions again and write these APIs, all or nothing, and waits for what
        follows. Raises DeployError; NoAnswerError where it may help to ask again.
        """
        body = _json_body({"apis": apis}) if apis else {}
        return await self.ask_policies("/v1/policies/reload", params={"wait": str(RELOAD_SECONDS)}, **body)

    async def reload_gateway(self) -> GatewayStatus:
        """Has the controller read the Gateway's file again, and waits for its node. Raises DeployError."""
        answer = await self._ask("POST", "/v1/gateway/reload", params={"wait": str(RELOAD_SECONDS)})
        if answer.is_error:
            raise DeployError("\n".join(sentences(_mistakes(answer))))
        return msgspec.json.decode(answer.content, type=_GatewayAnswer).status

    async def set_log_level(self, level: str) -> None:
        """Of the controller. Raises DeployError."""
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode({"level": level})
        answer = await self._ask("PUT", "/v1/log-level", content=content, headers=headers)
        if answer.is_error:
            raise DeployError("\n".join(sentences(_mistakes(answer))))

    async def certificates(self) -> dict[str, ObtainedCertificate]:
        """Those that are obtained by ACME, by name. Raises NoAnswerError."""
        answer = await self._ask("GET", "/v1/gateway")
        if answer.is_error:
            raise NoAnswerError(said(answer))
        return msgspec.json.decode(answer.content, type=_GatewayAnswer).status.certificates

    async def ask_policies(self, path: str, **what: Any) -> PolicyImpact:
        """What the controller says of policy definitions. Raises DeployError, with a line for each mistake."""
        answer = await self._ask("POST", path, **what)
        if answer.is_error:
            raise DeployError("\n".join(sentences(_mistakes(answer))))
        return msgspec.json.decode(answer.content, type=PolicyImpact)

    async def _write(self, method: str, path: str, api: ApiFile, query: dict[str, str]) -> Answer:
        media_type = "application/json" if api.path.suffix == ".json" else "application/yaml"
        headers = {"content-type": media_type}
        return await self._ask(method, path, content=api.content, headers=headers, params=query)

    async def _ask(self, method: str, path: str, **what: Any) -> Answer:
        try:
            answer = await self._client.request(method, path, **what)
        except LocalHttpError as error:
            raise NoAnswerError(f"the controller gave no answer ({error})") from error
        _refuse_without_database(answer)
        return answer


def _json_body(value: object) -> dict[str, Any]:
    return {"content": msgspec.json.encode(value), "headers": {"content-type": "application/json"}}


def _refuse_without_database(answer: Answer) -> None:
    if answer.status_code != 503:
        return
    with contextlib.suppress(msgspec.DecodeError):
        problem = msgspec.json.decode(answer.content, type=_Problem)
        if problem.type == NO_DATABASE:
            raise NoDatabaseError(problem.detail)


def _mistakes(answer: Answer) -> tuple[Mistake, ...]:
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        return (Mistake("", f"{answer.status_code} {answer.text[:500]}"),)
    mistakes = tuple(Mistake(one.field, one.message, one.line) for one in problem.errors)
    return mistakes or (Mistake("", f"{answer.status_code} {problem.detail}"),)


def said(answer: Answer) -> str:
    return "; ".join(sentences(_mistakes(answer)))


def sentences(mistakes: Iterable[Mistake]) -> list[str]:
    return [f"line {mistake.line}: {mistake}" if mistake.line else str(mistake) for mistake in mistakes]
