"""Runs a policy on a recorded exchange as the engine would, and compares its changes with the recorded ones.

Tests use it by `gatewright.testing.replay`, the command line by `gatewright replay`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from gatewright.definition import BodyMode, DefinitionError, PolicyDefinition
from gatewright.kit.changes import changes, differences, matches, of_trailers
from gatewright.kit.policy_call import Call, Outcome, PolicyRun
from gatewright.kit.recording import (
    REQUEST,
    RESPONSE,
    IncompleteRecordingError,
    JsonObject,
    Moment,
    Recording,
    Supplied,
    content_of,
    direction_of,
    is_marked,
)
from gatewright.kit.store_in_memory import in_memory
from gatewright.policy import FailureClass, PolicyMetadata

__all__ = [
    "PHASES",
    "Candidate",
    "Differences",
    "Replay",
    "ReplayedExecution",
    "attachments",
    "read_definition",
    "run",
]

PHASES = {
    "request": "on_request",
    "request_stream": "on_request_stream",
    "response": "on_response",
    "response_stream": "on_response_stream",
}
"""Phases in the order in which a policy has its turns, each with the function that is called."""
NEVER_RAN = ("overloaded", "unavailable", "bodyTooLarge", "badBody")
BESIDE = ("outcome", "failure", "stream", "answer")
"""Kinds of differences that are not in the message."""
PASSED, ANSWERED, FAILED, NOT_RUN = "passed", "answered", "failed", "not run"
KINDS = {"unchanged": PASSED, "changed": PASSED, "answered": ANSWERED, "failed": FAILED, "continued": FAILED}
BODILESS = (204, 304)
_HOOK = re.compile(r"^\S+:v\S+ \w+: ")
"""The engine's prefix of the executor's messages: name:version on_request."""
_PLACE = re.compile(r" \([^()]*:\d+\)$")
_ENGINES = ("request modifications: ", "response modifications: ", "immediate response: ", "stream: ")


@dataclass(frozen=True)
class ReplayedExecution:
    """One turn of the policy."""

    index: int
    """The policy's position in the chain, from 0; -1 if the recording's chain does not have it."""
    phase: str
    """request, request_stream, response or response_stream."""
    outcome: str = ""
    """unchanged, changed, answered or failed; "" if it was not run."""
    returned: Any = None
    """The function's return value; for a stream a StreamResult."""
    changes: list[JsonObject] = field(default_factory=list)
    """The changes that it would make, in the form of a recording."""
    failure: JsonObject | None = None
    """`class`, `message`, and, if the policy raised, its `file` and `line`."""
    recorded: JsonObject | None = None
    """The recorded execution; None if there is none."""
    differences: list[JsonObject] = field(default_factory=list)
    """Differences from the recorded execution, as changes: `before` was recorded, `after` was replayed. `what` may also
    be `outcome`, `failure` and `stream`."""
    skipped: str = ""
    """Why it was not run or not compared; "" if it was."""


class Differences(tuple[JsonObject, ...]):
    """All differences of a replay: false if there are none. Its repr is readable text."""

    text: str

    def __new__(cls, differences: Sequence[JsonObject], text: str) -> Differences:
        self = super().__new__(cls, differences)
        self.text = text
        return self

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Replay:
    """The result of running a policy on a recorded exchange."""

    name: str
    """The recording's name."""
    policy: str
    """name:version of the policy that was run."""
    executions: list[ReplayedExecution]
    """The policy's turns, in order."""
    warnings: list[str]
    """Values that were neither in the recording nor supplied, which may affect the result."""

    @property
    def changes(self) -> list[JsonObject]:
        """The changes of all executions."""
        return [change for execution in self.executions for change in execution.changes]

    @property
    def outcome(self) -> str:
        """The outcome of all executions: failed, else answered, else changed, else unchanged; "" if none was run."""
        outcomes = {execution.outcome for execution in self.executions}
        return next((name for name in ("failed", "answered", "changed", "unchanged") if name in outcomes), "")

    @property
    def failure(self) -> JsonObject | None:
        """The first failure, if there is one: `class`, `message`, `file`, `line`."""
        return next((execution.failure for execution in self.executions if execution.failure), None)

    @property
    def returned(self) -> list[Any]:
        """The return values of the functions, in order."""
        return [execution.returned for execution in self.executions]

    @property
    def differences(self) -> Differences:
        """The differences from the recording. If that has no execution of the policy: all changes of the replay."""
        different = [difference for execution in self.executions for difference in execution.differences]
        return Differences(different, "\n".join(self._lines(len(different))))

    def _lines(self, count: int) -> Iterator[str]:
        yield f"{self.name}, {self.policy}: {count} difference{'' if count == 1 else 's'} from what was recorded"
        for execution in self.executions:
            if execution.differences:
                yield f"  {execution.phase.replace('_', ' ')}:"
                for difference in execution.differences:
                    yield from (f"    {line}" for line in shown(difference))
        yield from (f"  warning: {warning}" for warning in self.warnings)

    def __repr__(self) -> str:
        return f"<Replay of {self.name}, {self.policy}: {self.outcome or 'not run'}>"


def shown(change: Mapping[str, Any]) -> Iterator[str]:
    """A change as lines: its member and name, then the values after - and +."""
    yield f"{change['what']} {change.get('name', '')}".rstrip()
    for side, sign in (("before", "-"), ("after", "+")):
        if side in change:
            value = change[side]
            yield f"  {sign} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


# ------------------------------------------------------------------ the policy

_BLOCK = re.compile(r"^processingMode:(.*(?:\n(?:[ \t].*|[ \t]*(?:#.*)?$))*)", re.MULTILINE)
_MODE = re.compile(r"(\w+)\s*:\s*[\"']?(\w+)")


def read_definition(file: Path) -> PolicyDefinition:
    """Reads name, version and processing mode of a policy-definition.yaml without a YAML parser.

    Raises ValueError if the file is not in YAML's block style.
    """
    text = file.read_text(encoding="utf-8")
    found = {key: match[1] for key in ("name", "version")
             if (match := re.search(rf"^{key}:[ \t]*[\"']?([\w.-]+)", text, re.MULTILINE))}  # fmt: skip
    block = _BLOCK.search(text)
    modes = dict(_MODE.findall(re.sub(r"#.*", "", block[1]))) if block else {}
    typed = {key: value == "true" if value in ("true", "false") else value for key, value in modes.items()}
    try:
        return PolicyDefinition.from_document({**found, "runtime": "python", "processingMode": typed})
    except DefinitionError as error:
        raise ValueError(f"{file}: expected a definition in YAML's block style: {error}; give definition=…") from None


@dataclass(frozen=True)
class Candidate:
    """A policy to run. module: the module with its functions. folder: the folder of its files."""

    module: ModuleType
    definition: PolicyDefinition
    params: dict[str, Any]
    folder: Path | None = None
    system_params: dict[str, Any] = field(default_factory=dict)
    timeout: float = 1.0

    @property
    def key(self) -> str:
        """name:version."""
        return f"{self.definition.name}:{self.definition.version}"

    def calls(self, phase: str) -> bool:
        """Whether the engine calls it in that phase."""
        return PHASES[phase] in self.definition.processing_mode.hooks


# ------------------------------------------------------------------ one exchange


def run(recording: Recording, candidate: Candidate, supplied: Supplied, index: int | None = None) -> Replay:
    """Runs the policy in each of its turns. index: the position of one attachment; None: all attachments.

    Raises IncompleteRecordingError if a turn needs something that the recording lacks.
    """
    recording.supply(supplied)
    with in_memory():
        return _run(recording, candidate, index)


def _run(recording: Recording, candidate: Candidate, index: int | None) -> Replay:
    warnings: dict[str, None] = {}
    executions: list[ReplayedExecution] = []
    for position in attachments(recording, candidate) if index is None else [index]:
        attachment = _Attachment(recording, candidate, position, warnings)
        executions += attachment.run()
    return Replay(recording.name, candidate.key, executions, list(warnings))


def attachments(recording: Recording, candidate: Candidate) -> list[int]:
    """The policy's positions in the recorded chain: of this very version, or else of any; [-1] if it has none."""
    policies = recording.exchange.get("policies") or []
    exact = [number for number, key in enumerate(policies) if key == candidate.key]
    named = [number for number, key in enumerate(policies) if key.partition(":")[0] == candidate.definition.name]
    return exact or named or [-1]


class _Attachment:
    """One attachment of the policy in one exchange."""

    def __init__(self, recording: Recording, candidate: Candidate, index: int, warnings: dict[str, None]) -> None:
        self._recording, self._candidate, self._index, self._warnings = recording, candidate, index, warnings
        self._own: list[tuple[int, str, list[JsonObject]]] = []  # turns: position, direction, differences

    def run(self) -> list[ReplayedExecution]:
        turns: list[ReplayedExecution] = []
        exchange = self._recording.exchange
        metadata = PolicyMetadata(
            self._candidate.definition.name,
            self._candidate.definition.version,
            exchange.get("api", ""),
            exchange.get("apiVersion", ""),
            self._candidate.system_params,
        )
        with PolicyRun(self._candidate.module, self._candidate.folder, self._candidate.params, metadata) as policy:
            for phase in PHASES:
                turn = self._turn(phase, policy)
                if turn is None:
                    continue
                turns.append(turn)
                if reason := self._end(turn):
                    turns += self._not_run(phase, reason)
                    break
        return turns

    def _turn(self, phase: str, policy: PolicyRun) -> ReplayedExecution | None:
        """The result of the turn in this phase; None if the policy has none."""
        position, recorded = self._position(phase)
        failure = (recorded or {}).get("failure") or {}
        if recorded and recorded.get("outcome") == "cancelled":
            reason = "the exchange ended before the execution did"
        elif failure.get("class") in NEVER_RAN:
            reason = f"the policy was not run: {failure['class']}"
        elif not self._candidate.calls(phase):
            if not recorded:
                return None
            return self._execution(phase, recorded, Outcome(NOT_RUN), [], [])
        elif recorded is None and not self._reached(phase):
            return None
        else:
            return self._replay(phase, policy, position, recorded)
        return ReplayedExecution(self._index, phase, recorded=recorded, skipped=reason)

    def _position(self, phase: str) -> tuple[int, JsonObject | None]:
        """The position of the turn among the recorded executions, and the recorded execution, if there is one."""
        executions = self._recording.executions
        for number, execution in enumerate(executions):
            if execution.get("index") == self._index and execution.get("phase") == phase:
                return number, execution
        direction = phase.partition("_")[0]
        for number, execution in enumerate(executions):
            other, way = execution.get("index", 0), direction_of(execution)
            if direction == REQUEST and (way == RESPONSE or other > self._index):
                return number, None
            if direction == RESPONSE and way == RESPONSE and (self._index < 0 or other < self._index):
                return number, None
        return len(executions), None

    def _reached(self, phase: str) -> bool:
        """Whether the recorded exchange reached the policy's turn in this phase."""
        exchange, is_request = self._recording.exchange, phase.startswith(REQUEST)
        ended = [execution.get("index", 0) for execution in self._recording.executions
                 if direction_of(execution) == REQUEST and execution.get("outcome") in ("answered", "failed")
                 and not execution.get("shadow")]  # fmt: skip
        if any(index < self._index or (index == self._index and not is_request) for index in ended):
            return False
        if is_request:
            return True
        response = exchange.get("upstreamResponse") or exchange.get("response")
        if response is None:
            self._warn("response: the recording has none: the policy's response phase was not run")
            return False
        has_body = response.get("status") not in BODILESS and exchange["request"].get("method") != "HEAD"
        return has_body or not phase.endswith("_stream")

    def _end(self, turn: ReplayedExecution) -> str:
        """Why the policy has no turns after this one; "" if it has."""
        was = (turn.recorded or {}).get("outcome")
        if turn.outcome == "answered" or (turn.outcome == "failed" and was != "continued"):
            return f"the policy has {turn.outcome} before"
        if turn.phase.startswith(REQUEST) and not turn.skipped and was in ("answered", "failed"):
            if any(self._candidate.calls(phase) for phase in PHASES if phase.startswith(RESPONSE)):
                self._warn("upstreamResponse: the recording has none, since the policy answered the request then: "
                           "its response phase was not run")  # fmt: skip
            return "nothing came back"
        return ""

    def _not_run(self, after: str, reason: str) -> Iterator[ReplayedExecution]:
        """The recorded turns that the replay does not reach."""
        for phase in [*PHASES][[*PHASES].index(after) + 1 :]:
            _, recorded = self._position(phase)
            if recorded and recorded.get("outcome") != "cancelled":
                yield self._execution(phase, recorded, Outcome(NOT_RUN), [], [], reason)

    # -------------------------------------------------------------- one turn

    def _replay(self, phase: str, policy: PolicyRun, position: int, recorded: JsonObject | None) -> ReplayedExecution:
        direction, _, stream = phase.partition("_")
        now = self._recording.moment(direction, position)
        self._lay_over(now, position)
        call = self._call(phase, position, now)
        outcome = policy.stream(call) if stream else policy.call(call)
        inexact = any(map(is_marked, (call.recorded_bodies)))
        made: list[JsonObject]
        if stream:
            made = [*of_trailers(*outcome.trailers), *changes(now, outcome.after, RESPONSE, True)] if (
                outcome.answered) else [*of_trailers(*outcome.trailers), *_of_metadata(now, outcome.after)]  # fmt: skip
        else:
            made = changes(now, outcome.after, direction, outcome.answered)
        in_stream = self._compare_stream(direction, position, recorded, outcome, inexact) if stream else []
        turn = self._execution(phase, recorded, outcome, made, in_stream, inexact=inexact)
        kept = [change for change in turn.differences if not (stream and change["what"] == "body")]
        self._own.append((position, direction, kept))
        return turn

    def _lay_over(self, now: Moment, position: int) -> None:
        """Applies the differences of the policy's earlier turns, but those to members that were changed since."""
        for before, direction, different in self._own:
            since = {
                (change["what"], change.get("name", ""))
                for execution in self._recording.executions[before + 1 : position]
                for change in execution.get("changes", [])
                if change["what"] in ("metadata", "analytics") or direction_of(execution) == direction
            }
            for change in different:
                if change["what"] not in BESIDE and (change["what"], change.get("name", "")) not in since:
                    now.apply(change, direction)

    def _call(self, phase: str, position: int, now: Moment) -> Call:
        """The input of the policy's call."""
        direction, _, stream = phase.partition("_")
        mode, exchange = self._candidate.definition.processing_mode, self._recording.exchange
        call = Call(phase, PHASES[phase], now, exchange, mode, self._candidate.timeout)
        body_mode = mode.request_body_mode if direction == REQUEST else mode.response_body_mode
        if stream or body_mode is BodyMode.BUFFER:
            call.body = self._content(direction, position, now, call)
        if direction == RESPONSE and mode.request_body_in_response:
            call.request_body = self._content(REQUEST, 0, now, call)
        if stream:
            call.trailers = now.message(direction).trailers
        self._warn_of_marks(direction, now)
        return call

    def _content(self, direction: str, position: int, now: Moment, call: Call) -> bytes | None:
        message = now.message(direction)
        if direction != REQUEST or position:
            member, body = self._recording.body(direction, position, now)
        else:
            member, body = "request.body", message.body
        message.body = body
        supply = "body" if direction == REQUEST else "response_body"
        cure = f"record it with a larger spec.recording.bodyBytes, or give {supply}=…"
        if body is None:
            if self._has_unseen_body(direction, now):
                cure = f"record it with a chain that has the policy, or give {supply}=…"
                raise self._recording.incomplete(member, "a body, which was not recorded as no policy wanted it", cure)
            return None
        call.recorded_bodies.append(body)
        if is_marked(body):
            self._warn(f"{member}: values were taken out of it; give {supply}=…")
        if body.get("decoded") and call.passes_encoded:
            raise self._recording.incomplete(member, f"it in {body['decoded']}, got it decoded", f"give {supply}=…")

        def missing(got: str) -> IncompleteRecordingError:
            return self._recording.incomplete(member, f"all of it, got {got}", cure)

        return content_of(body, missing) or None

    def _has_unseen_body(self, direction: str, now: Moment) -> bool:
        message, exchange = now.message(direction), self._recording.exchange
        if direction == RESPONSE and (message.status in BODILESS or exchange["request"].get("method") == "HEAD"):
            return False
        length = message.values("content-length")
        return bool(message.values("transfer-encoding")) or any(value.strip() not in ("", "0") for value in length)

    # -------------------------------------------------------------- the result

    def _compare_stream(
        self, direction: str, position: int, recorded: JsonObject | None, outcome: Outcome, inexact: bool
    ) -> list[JsonObject]:
        """The differences between the yielded and the recorded body."""
        if recorded is None or outcome.failure or outcome.answered or recorded.get("outcome") not in KINDS:
            return []
        was = recorded.get("stream") or {}
        known = self._recording.streamed(direction, position)
        if known is not None and outcome.body is not None:
            expected = {
                **known,
                "size": was.get("bytesOut", 0),
            }  # without the wire's encoding
            expected.pop("decoded", None)
            yielded = [{"what": "body", "after": outcome.body}]
            return differences([{"what": "body", "after": expected}], yielded, inexact)
        size = (outcome.body or {}).get("size", 0)
        if inexact or size == was.get("bytesOut", 0):
            return []
        return [{"what": "stream", "before": {"bytesOut": was.get("bytesOut", 0)}, "after": {"bytesOut": size}}]

    def _execution(
        self,
        phase: str,
        recorded: JsonObject | None,
        outcome: Outcome,
        made: list[JsonObject],
        in_stream: list[JsonObject],
        skipped: str = "",
        inexact: bool = False,
    ) -> ReplayedExecution:
        was: str = (recorded or {}).get("outcome", "unchanged")
        kind = outcome.kind or (ANSWERED if outcome.answered else FAILED if outcome.failure else PASSED)
        different = list(_of_outcome(recorded or {}, KINDS.get(was, was), kind, outcome.failure))
        different += differences((recorded or {}).get("changes", []), made, inexact) + in_stream
        shown_as = {PASSED: "changed" if made or outcome.changes_size else "unchanged", NOT_RUN: ""}.get(kind, kind)
        return ReplayedExecution(
            self._index, phase, shown_as, outcome.returned, made, outcome.failure, recorded, different, skipped
        )

    def _warn(self, text: str) -> None:
        self._warnings[f"{self._recording.name}: {text}"] = None

    def _warn_of_marks(self, direction: str, now: Moment) -> None:
        names = [("headers", name) for name, value in now.request.headers if is_marked(value)]
        if is_marked(now.request.texts):
            names.append(("query", "query"))
        names += [("metadata", name) for name, value in now.metadata.items() if is_marked(value)]
        if direction == RESPONSE and now.response is not None:
            names += [("response_headers", name) for name, value in now.response.headers if is_marked(value)]
        for argument, name in names:
            self._warn(f"{argument}{f' {name}' * (name != argument)}: the value was taken out; give {argument}=…")


def _of_metadata(before: Moment, after: Moment) -> list[JsonObject]:
    plain = copy.copy(before)
    plain.metadata, plain.analytics = after.metadata, after.analytics
    return changes(before, plain, REQUEST)


def _of_outcome(recorded: JsonObject, was: str, kind: str, failure: JsonObject | None) -> Iterator[JsonObject]:
    before = recorded.get("failure")
    if was != kind:
        yield {"what": "outcome", "before": was, "after": kind}
    if was == kind and not (before and failure and not _same_failure(before, failure)):
        return
    if before or failure:
        sides = {"before": before, "after": failure}
        yield {"what": "failure", **{side: failed for side, failed in sides.items() if failed}}


def _same_failure(was: JsonObject, now: JsonObject) -> bool:
    """Compares two failures without the line that raised, since lines move, and without the engine's own words."""
    if was.get("class") != now.get("class"):
        return False
    before, after = (_PLACE.sub("", _HOOK.sub("", str(side.get("message", "")))) for side in (was, now))
    return was["class"] == FailureClass.TIMEOUT or before.startswith(_ENGINES) or matches(before, after)
