"""Calls a policy's function as the engine does, and applies its action to the exchange. For replays."""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import traceback
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from gatewright import action as checked
from gatewright.action import ActionError
from gatewright.definition import BodyMode, EncodedBodies, ProcessingModeConfig
from gatewright.header_rules import check_size
from gatewright.headers import Headers
from gatewright.kit.contexts import Stream, header_blob, request, response, stream, streaming
from gatewright.kit.recording import REQUEST, TEXTS, JsonObject, Message, Moment, body_of
from gatewright.lifetime import Lifetime, lifetime, shared_lifetime
from gatewright.metadata import checked_params
from gatewright.path_params import path_params_in
from gatewright.peer import Peer
from gatewright.policy import (
    FailureClass,
    ImmediateResponse,
    PolicyMetadata,
    Reject,
    RequestContext,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
    touched_analytics,
    touched_metadata,
)
from gatewright.request_view import path_upstream

__all__ = ["Call", "Outcome", "PolicyRun", "PreparationError", "StreamedBody", "describe", "place", "shown_path"]

Function = Callable[..., Any]
OF_THE_BODY = ("content-encoding", "content-length")
SDK_FOLDER = Path(__file__).parents[1]


class PreparationError(Exception):
    """The policy's `setup`, `prepare` or `get_policy` raised; the text has the exception and its line."""


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """The chunks that a stream has yielded, and the response of its Reject."""

    chunks: list[bytes]
    rejected: ImmediateResponse | None = None


@dataclass
class Call:
    """The input of one call: the exchange at that moment, and the bodies that the policy gets."""

    phase: str
    hook: str
    now: Moment
    exchange: Mapping[str, Any]
    mode: ProcessingModeConfig
    timeout: float
    body: bytes | None = None
    request_body: bytes | None = None
    trailers: list[tuple[str, str]] | None = None
    recorded_bodies: list[JsonObject] = field(default_factory=list)

    @property
    def direction(self) -> str:
        """`request` or `response`."""
        return self.phase.partition("_")[0]

    @property
    def passes_encoded(self) -> bool:
        """Whether the policy wants bodies with their content encoding."""
        return self.mode.encoded_bodies is EncodedBodies.PASS

    @property
    def refused(self) -> str:
        """The content encoding of a body that the policy refuses; "" for none."""
        message = self.now.message(self.direction)
        has_body = self._wants(self.direction) and message.body is not None
        return message.coding if has_body and self.mode.encoded_bodies is EncodedBodies.REFUSE else ""

    def _wants(self, direction: str) -> bool:
        mode = self.mode.request_body_mode if direction == REQUEST else self.mode.response_body_mode
        return mode is not BodyMode.SKIP

    def context(self, metadata: PolicyMetadata, prepared: Any, shared: Any) -> RequestContext | ResponseContext:
        """The context of on_request or on_response; `streaming` makes a stream's of it."""
        request_context = self._request(metadata, prepared, shared)
        if self.direction == REQUEST:
            return request_context
        message = self.now.message(self.direction)
        headers = self._headers(message, self._wants(self.direction))
        return response(message.status, headers=headers, body=self.body, request=request_context)

    def _request(self, metadata: PolicyMetadata, prepared: Any, shared: Any) -> RequestContext:
        message, client = self.now.request, self.exchange.get("client") or {}
        is_request = self.direction == REQUEST
        wants_body = self._wants(REQUEST) if is_request else self.mode.request_body_in_response
        texts = {name: message.texts.get(name, "") for name in TEXTS}
        context = self.exchange.get("context") or "/"
        return request(
            texts["method"],
            texts["path"],
            query=texts["query"],
            headers=self._headers(message, wants_body),
            body=self.body if is_request else self.request_body,
            metadata=self.now.metadata,
            prepared=prepared,
            shared=shared,
            scheme=self.exchange["request"].get("scheme", ""),
            authority=texts["authority"],
            client_address=client.get("address", ""),
            peer=_peer(client.get("peer")),
            upstream=texts["upstream"] or None,
            request_id=self.exchange.get("id", ""),
            operation=self.exchange.get("operation", ""),
            policy=metadata,
            timeout=self.timeout,
            path_params=self._path_params(),
            has_body=message.body is not None,
            api_context=context,
            strict_paths=not self.exchange.get("loosePaths", False),
            upstream_path=path_upstream(
                self.exchange.get("upstreamPaths") or (), texts["upstream"], context, texts["path"]
            ),
        )

    def _path_params(self) -> Mapping[str, str]:
        """The parameters of the path as the client sent it."""
        context, operation = self.exchange.get("context") or "/", self.exchange.get("operation") or ""
        return path_params_in(context, operation, self.exchange["request"].get("path") or "")

    def _headers(self, message: Message, wants_body: bool) -> list[tuple[str, str]]:
        """The headers that the policy sees: without those of the encoded body if the policy gets it decoded."""
        if not wants_body or self.mode.encoded_bodies is not EncodedBodies.DECODE or not message.coding:
            return message.headers
        return [line for line in message.headers if line[0] not in OF_THE_BODY]

    def chunks(self) -> Stream:
        """The body as one chunk, for a stream."""
        return stream(self.body or b"", trailers=self.trailers)


def _peer(recorded: Mapping[str, Any] | None) -> Peer | None:
    if recorded is None:
        return None
    dns_names, uris, emails, addresses = (
        tuple(recorded.get(name) or ()) for name in ("dnsNames", "uris", "emailAddresses", "ipAddresses")
    )
    subject, issuer, fingerprint = (recorded.get(name, "") for name in ("subject", "issuer", "fingerprint"))
    return Peer(subject, issuer, dns_names, uris, emails, addresses, fingerprint)


@dataclass
class Outcome:
    """The result of a call. after: the exchange as the policy leaves it."""

    kind: str = ""
    after: Moment = field(default_factory=lambda: Moment(Message()))
    answered: bool = False
    returned: Any = None
    failure: JsonObject | None = None
    body: JsonObject | None = None
    """Of a stream: the body that it has yielded."""
    trailers: tuple[list[tuple[str, str]], list[tuple[str, str]]] = field(default_factory=lambda: ([], []))
    """Of a stream: the trailers before and after it."""
    changes_size: bool = False
    """Of a stream: whether it has yielded more or fewer bytes than it got."""


class PolicyRun(AbstractContextManager["PolicyRun"]):
    """A context manager that prepares a policy, calls its functions, and closes it.

    Async functions run on one event loop in a thread of its own, all others in the calling thread.
    """

    def __init__(
        self, module: ModuleType, folder: Path | None, params: dict[str, Any], metadata: PolicyMetadata
    ) -> None:
        self._owner: Any = module
        self._folder, self._params, self._metadata = folder, checked_params(params, "params"), metadata
        self._stack = ExitStack()
        self._shared: Any = None
        self._prepared: Any = None
        self._loop: asyncio.Runner | None = None
        self._thread: ThreadPoolExecutor

    def __enter__(self) -> PolicyRun:
        step = "setup"
        try:
            setup = getattr(self._owner, "setup", None)
            self._shared = self._enter(shared_lifetime(setup, self._metadata.system_params))
            step = "prepare"
            self._prepare()
        except BaseException as error:
            self._close()
            if not isinstance(error, Exception | SystemExit):
                raise
            raise PreparationError(f"{self._metadata.policy_name}: {step}: {describe(error, self._folder)}") from error
        return self

    def _prepare(self) -> None:
        module = self._owner
        if not any(hasattr(module, hook) for hook in HOOKS) and hasattr(module, "get_policy"):
            self._owner = module.get_policy(self._metadata, self._params)
        prepare, close = getattr(module, "prepare", None), getattr(module, "close", None)
        self._prepared = self._enter(lifetime(prepare, close, self._params, self._metadata, self._run, self._shared))

    def _enter(self, lifetime: Lifetime) -> Any:
        """Enters the lifetime and returns its value. It is left when the policy is closed."""
        if isinstance(lifetime, AbstractContextManager):
            return self._stack.enter_context(lifetime)
        value = self._run(lifetime.__aenter__())
        self._stack.callback(lambda: self._run(lifetime.__aexit__(None, None, None)))
        return value

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        try:
            self._stack.close()
        finally:
            if self._loop is not None:
                self._thread.submit(self._loop.close).result()
                self._thread.shutdown()

    def _run(self, awaitable: Awaitable[Any]) -> Any:
        """Runs the awaitable on the event loop, which the first call starts."""
        if self._loop is None:
            self._loop, self._thread = asyncio.Runner(), ThreadPoolExecutor(1, thread_name_prefix="replay")
        runner = self._loop
        return self._thread.submit(lambda: runner.run(_await(awaitable))).result()

    # -------------------------------------------------------------- a function

    def call(self, call: Call) -> Outcome:
        """Calls on_request or on_response."""
        if call.refused:
            return self._refuse_body(call)
        function, context = self._function(call), call.context(self._metadata, self._prepared, self._shared)
        try:
            returned = function(context, self._params)
            if _is_async(function):
                returned = self._run(returned)
            checked.check(call.hook, returned)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in an executor: SystemExit and CancelledError, too
            return self._fail(call.now, error)
        return self._apply(call, context, returned)

    def stream(self, call: Call) -> Outcome:
        """Calls on_request_stream or on_response_stream."""
        if call.refused:
            return self._refuse_body(call)
        function, chunks = self._function(call), call.chunks()
        context = streaming(call.context(self._metadata, self._prepared, self._shared), chunks)
        try:
            generator = checked.stream(call.hook, function(context, chunks, self._params))
            streamed = self._run(_collect(generator))
            left = checked.stream_analytics(touched_analytics(context))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # as in an executor: SystemExit and CancelledError, too
            return self._fail(call.now, error)
        after = _with_metadata(call.now, context)
        if streamed.rejected is not None:
            after = _answer(after, streamed.rejected)
            return Outcome(after=after, answered=True, returned=streamed)
        after.analytics |= left
        body = b"".join(streamed.chunks)
        before = call.trailers or []
        trailers = before, before if call.trailers is None else chunks.end().multi_items()
        size = len(call.body or b"")
        return Outcome(
            after=after, returned=streamed, body=body_of(body), trailers=trailers, changes_size=len(body) != size
        )

    def _function(self, call: Call) -> Function:
        function: Function | None = getattr(self._owner, call.hook, None)
        if not callable(function):
            cure = "write it, or change processingMode in policy-definition.yaml"
            raise PreparationError(f"{self._metadata.policy_name}: expected {call.hook}, found none; {cure}")
        return function

    def _apply(self, call: Call, context: RequestContext | ResponseContext, returned: Any) -> Outcome:
        after = _with_metadata(call.now, context)
        if isinstance(returned, ImmediateResponse):
            return Outcome(after=_answer(after, returned), answered=True, returned=returned)
        if returned is not None:
            kept = copy.deepcopy(after)
            try:
                _modify(call, after, returned)
            except ActionError as error:
                return Outcome(after=kept, returned=returned, failure=_bad_action(error))
        return Outcome(after=after, returned=returned)

    # -------------------------------------------------------------- a failure

    def _refuse_body(self, call: Call) -> Outcome:
        message = f"{call.direction} body: expected no content-encoding but identity, got {call.refused!r}"
        failure = {"class": FailureClass.BAD_BODY.value, "message": message}
        return Outcome(after=copy.deepcopy(call.now), failure=failure)

    def _fail(self, now: Moment, error: BaseException) -> Outcome:
        after = copy.deepcopy(now)
        if isinstance(error, ActionError):
            return Outcome(after=after, failure=_bad_action(error))
        failure: JsonObject = {"class": FailureClass.EXCEPTION.value, "message": describe(error, self._folder)}
        file, line = place(error, self._folder)
        if file:
            failure |= {"file": file, "line": line}
        return Outcome(after=after, failure=failure)


def describe(error: BaseException, folder: Path | None) -> str:
    """One line: the exception, and the file and line it came from; for a group, its first exception too."""
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    text = lines[-1] if lines else type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f"{text}: {describe(error.exceptions[0], folder)}"
    file, line = place(error, folder)
    return f"{text} ({file}:{line})" if file else text


def place(error: BaseException, folder: Path | None) -> tuple[str, int]:
    """The innermost line in the policy's own files, or else outside of the SDK; "" and 0 without one."""
    if isinstance(error, BaseExceptionGroup):
        return place(error.exceptions[0], folder)
    if isinstance(error, SyntaxError) and error.filename:
        return shown_path(error.filename), error.lineno or 0
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    foreign = [
        (file, line) for file, line in frames if not Path(file).is_relative_to(SDK_FOLDER) and "importlib" not in file
    ]
    own = [(file, line) for file, line in foreign if folder is not None and Path(file).is_relative_to(folder)]
    if not (candidates := own or foreign):
        return "", 0
    return shown_path(candidates[-1][0]), candidates[-1][1]


HOOKS = ("on_request", "on_response", "on_request_stream", "on_response_stream")


def shown_path(file: str) -> str:
    """The path relative to the working directory, if it is below."""
    here = os.path.relpath(file)
    return file if here.startswith("..") else here


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _is_async(function: Function) -> bool:
    is_plain = inspect.isroutine(function)
    return inspect.iscoroutinefunction(function if is_plain else type(function).__call__)


async def _collect(generator: Any) -> StreamedBody:
    chunks: list[bytes] = []
    async with aclosing(generator) as yielded:
        try:
            async for chunk in yielded:
                chunks.append(checked.chunk(chunk))  # noqa: PERF401 - the chunks before a Reject count
        except Reject as error:
            return StreamedBody(chunks, checked.rejection(error))
    return StreamedBody(chunks)


def _bad_action(error: ActionError) -> JsonObject:
    return {"class": FailureClass.BAD_ACTION.value, "message": str(error)}


# ------------------------------------------------------------------ effects of an action


def _with_metadata(now: Moment, context: RequestContext | ResponseContext) -> Moment:
    after = copy.deepcopy(now)
    if (metadata := touched_metadata(context)) is not None:
        written, removed = metadata.changes()
        after.metadata.update(copy.deepcopy(written))
        for name in removed:
            after.metadata.pop(name, None)
    return after


def _answer(after: Moment, answer: ImmediateResponse) -> Moment:
    lines = _lines(checked.header_blob("headers", answer.headers))
    body = checked.body(answer.body)
    after.response = Message(status=answer.status_code, headers=lines, body=_recorded_body(body, lines))
    after.analytics |= checked.analytics(answer.analytics_metadata)
    return after


def _modify(call: Call, after: Moment, action: UpstreamRequestModifications | UpstreamResponseModifications) -> None:
    """Applies the action to `after`. Raises ActionError if the engine would refuse it."""
    message = after.message(call.direction)
    mode = call.mode.request_body_mode if call.direction == REQUEST else call.mode.response_body_mode
    if action.body is not None and mode is BodyMode.STREAM:
        _refuse("body: expected none of a policy that streams the body; yield it")
    if isinstance(action, UpstreamRequestModifications):
        _redirect(call, message, action)
    elif action.status_code is not None:
        message.status = action.status_code
    if action.body is not None and message.values("content-encoding"):
        message.set_header("content-encoding", None)
    _modify_headers(message, action)
    if action.body is not None:
        message.body = _recorded_body(checked.body(action.body), message.headers)
    after.analytics |= checked.analytics(action.analytics_metadata)


def _redirect(call: Call, message: Message, action: UpstreamRequestModifications) -> None:
    context = str(call.exchange.get("context") or "/").rstrip("/")
    path = action.path
    if path is not None and context and path != context and not path.startswith(f"{context}/"):
        _refuse(f"path: expected one below the API's context {context}, got {path!r}")
    for name in TEXTS:
        value = getattr(action, name)
        if value:
            message.texts[name] = value
        elif value is not None:
            message.texts.pop(name, None)
    if action.attempts:
        message.texts["upstream"] = action.attempts[0].upstream


def _modify_headers(message: Message, action: UpstreamRequestModifications | UpstreamResponseModifications) -> None:
    removed = {name.lower() for name in action.remove_headers}
    put = _lines(checked.header_blob("set_headers", action.set_headers))
    more = _lines(checked.header_blob("append_headers", action.append_headers))
    if removed or put or more:
        gone = removed | {name for name, _ in put}
        message.headers = [line for line in message.headers if line[0] not in gone] + put + more
        check_size(header_blob(message.headers))


def _refuse(text: str) -> NoReturn:
    raise ActionError(text)


def _lines(blob: bytes) -> list[tuple[str, str]]:
    """Header lines in the form of a recording: bytes that are not UTF-8 are replaced."""
    return [(name, value.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            for name, value in Headers(blob).multi_items()]  # fmt: skip


def _recorded_body(body: bytes, headers: list[tuple[str, str]]) -> JsonObject:
    """A body in the form of a recording: decoded if its headers name a content encoding."""
    coding = next((value for name, value in headers if name == "content-encoding"), "")
    if coding.lower() in ("", "identity"):
        return body_of(body)
    try:
        plain = zlib.decompress(body, wbits=47) if coding.lower() in ("gzip", "x-gzip", "deflate") else None
    except zlib.error:
        plain = None
    if plain is None:
        return {"size": len(body), "truncated": True, "decoded": coding}
    return {**body_of(plain), "size": len(body), "decoded": coding}
