"""`policy-definition.yaml`: its types, the checks that need no JSON Schema, and its digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gatewright.access import Access, access_mistakes

PREPARE_TIMEOUT = "10s"
NAME_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
"""The pattern of a policy's name, and of an executor group's."""
VERSION_PATTERN = r"^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$"
NAME = "a policy name: lower-case letters, digits and single dashes, a letter first"
NAME_CURE = "write one like add-headers"


class Runtime(StrEnum):
    """The language a policy is written in."""

    GO = "go"
    PYTHON = "python"


class HeaderMode(StrEnum):
    """Whether a policy wants to be called for a header phase."""

    SKIP = "SKIP"
    PROCESS = "PROCESS"


class BodyMode(StrEnum):
    """Whether and how a policy wants a body."""

    SKIP = "SKIP"
    BUFFER = "BUFFER"
    STREAM = "STREAM"


class EncodedBodies(StrEnum):
    """How a policy gets a body that has a content encoding other than identity."""

    REFUSE = "REFUSE"  # the execution fails with badBody: the policy would not understand what it sees
    PASS = "PASS"  # noqa: S105 - the policy gets the encoded body
    DECODE = "DECODE"  # the policy gets the decoded body; if it cannot be decoded, the execution fails with badBody


@dataclass(frozen=True, slots=True)
class ProcessingModeConfig:
    """The phases in which a policy is called. A policy that wants headers and body of a direction is called once, with
    both; one that streams the body is called first with the headers, and then with the stream."""

    request_header_mode: HeaderMode = HeaderMode.SKIP
    request_body_mode: BodyMode = BodyMode.SKIP
    response_header_mode: HeaderMode = HeaderMode.SKIP
    response_body_mode: BodyMode = BodyMode.SKIP
    request_body_in_response: bool = False  # on_response gets the request's body too, as it went upstream
    encoded_bodies: EncodedBodies = EncodedBodies.DECODE

    @property
    def wants_request(self) -> bool:
        """Whether on_request is called."""
        return self.request_header_mode is HeaderMode.PROCESS or self.request_body_mode is BodyMode.BUFFER

    @property
    def wants_response(self) -> bool:
        """Whether on_response is called."""
        return self.response_header_mode is HeaderMode.PROCESS or self.response_body_mode is BodyMode.BUFFER

    @property
    def streams(self) -> bool:
        """Whether on_request_stream or on_response_stream is called."""
        return BodyMode.STREAM in (self.request_body_mode, self.response_body_mode)

    @property
    def hooks(self) -> tuple[str, ...]:
        """The functions that are called, of on_request, on_response, on_request_stream and on_response_stream."""
        called = {
            "on_request": self.wants_request,
            "on_response": self.wants_response,
            "on_request_stream": self.request_body_mode is BodyMode.STREAM,
            "on_response_stream": self.response_body_mode is BodyMode.STREAM,
        }
        return tuple(hook for hook, is_called in called.items() if is_called)


@dataclass(frozen=True, slots=True)
class PolicyDefinition:
    """A policy-definition.yaml."""

    name: str  # add-python-header
    version: str  # v1.0.0
    runtime: Runtime
    processing_mode: ProcessingModeConfig
    display_name: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)  # JSON Schema 2020-12
    system_parameters: Mapping[str, Any] = field(default_factory=dict)  # JSON Schema 2020-12
    allow_continue: bool = True  # False, for policies that protect: no attachment may say onError: continue
    prepare_timeout: str = PREPARE_TIMEOUT  # the time that `prepare` may take; Python only
    access: Access = field(default_factory=Access)  # `files` and `network`; Python only

    @classmethod
    def from_document(cls, document: object) -> PolicyDefinition:
        """The definition in a parsed YAML or JSON document. DefinitionError names all its mistakes."""
        if mistakes := list(definition_mistakes(document)):
            raise DefinitionError(mistakes)
        assert isinstance(document, Mapping)
        return cls(
            name=document["name"],
            version=document["version"],
            runtime=Runtime(document["runtime"]),
            processing_mode=_processing_mode(document["processingMode"]),
            display_name=document.get("displayName", ""),
            description=document.get("description", ""),
            parameters=document.get("parameters", {}),
            system_parameters=document.get("systemParameters", {}),
            allow_continue=document.get("allowContinue", True),
            prepare_timeout=document.get("prepareTimeout", PREPARE_TIMEOUT),
            access=Access.of(document),
        )


@dataclass(frozen=True, slots=True)
class DefinitionMistake:
    """One mistake in a definition. str() is a sentence: FIELD: expected …, got …; CURE.

    path: the keys and indexes that lead to the mistake; () for the whole document. value: the value there. words: the
    value in words, if they say it better ("nothing").
    """

    path: tuple[str | int, ...]
    expected: str
    cure: str
    value: object = None
    words: str = ""

    @property
    def got(self) -> str:
        """The value in the document, cut at 60 characters."""
        return self.words or f"{self.value!r:.60}"

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or '$'}: expected {self.expected}, got {self.got}; {self.cure}"


class DefinitionError(ValueError):
    """A document is no valid definition. `mistakes` has all its mistakes."""

    def __init__(self, mistakes: list[DefinitionMistake]) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = mistakes


def definition_digest(document: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of the definition as canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _processing_mode(modes: Mapping[str, Any]) -> ProcessingModeConfig:
    return ProcessingModeConfig(
        request_header_mode=HeaderMode(modes.get("requestHeaderMode", "SKIP")),
        request_body_mode=BodyMode(modes.get("requestBodyMode", "SKIP")),
        response_header_mode=HeaderMode(modes.get("responseHeaderMode", "SKIP")),
        response_body_mode=BodyMode(modes.get("responseBodyMode", "SKIP")),
        request_body_in_response=modes.get("requestBodyInResponse", False),
        encoded_bodies=EncodedBodies(modes.get("encodedBodies", "DECODE")),
    )


@dataclass(frozen=True, slots=True)
class KeyRule:
    """The values that a key of a definition may have. kind: a type, or the allowed words. pattern: for the whole text.
    default: the value if the key is absent.
    """

    kind: type | tuple[str, ...]
    expected: str
    cure: str
    pattern: str = ""
    required: bool = False
    default: object = None

    def fits(self, value: object) -> bool:
        """Whether the key may have this value."""
        if isinstance(self.kind, tuple):
            return isinstance(value, str) and value in self.kind
        if not isinstance(value, self.kind):
            return False
        return not self.pattern or re.fullmatch(self.pattern, str(value)) is not None


_HEADER_MODE = KeyRule(tuple(HeaderMode), "SKIP or PROCESS", "write PROCESS to be called for it", default="SKIP")
_BODY_MODE = KeyRule(
    tuple(BodyMode),
    "SKIP, BUFFER or STREAM",
    "write BUFFER to get the whole body, STREAM for its chunks as they come",
    default="SKIP",
)
_BODY_IN_RESPONSE = "requestBodyInResponse"
MODE_KEYS = {
    "requestHeaderMode": _HEADER_MODE,
    "requestBodyMode": _BODY_MODE,
    "responseHeaderMode": _HEADER_MODE,
    "responseBodyMode": _BODY_MODE,
    _BODY_IN_RESPONSE: KeyRule(
        bool, "true or false", "write true to get the request's body in on_response too", default=False
    ),
    "encodedBodies": KeyRule(
        tuple(EncodedBodies),
        "REFUSE, PASS or DECODE",
        "write DECODE to get the body decoded, PASS for a policy that reads encoded bodies itself",
        default="DECODE",
    ),
}
_TEXT = KeyRule(str, "a text", "put it in quotes", default="")
_SCHEMA = KeyRule(Mapping, "a JSON Schema 2020-12 of an object", "write type: object", default={})
DEFINITION_KEYS = {
    "name": KeyRule(str, NAME, NAME_CURE, NAME_PATTERN, required=True),
    "version": KeyRule(str, "a version vX.Y.Z", "write one like v1.0.0", VERSION_PATTERN, required=True),
    "runtime": KeyRule(tuple(Runtime), "python or go", "write runtime: python or runtime: go", required=True),
    "processingMode": KeyRule(Mapping, "the phases", "write requestHeaderMode: PROCESS below it", required=True),
    "displayName": _TEXT,
    "description": _TEXT,
    "parameters": _SCHEMA,
    "systemParameters": _SCHEMA,
    "allowContinue": KeyRule(bool, "true or false", "write false to forbid onError: continue", default=True),
    "prepareTimeout": KeyRule(
        str,
        "a time from 1s to 300s",
        "write one like 30s",
        r"^([1-9][0-9]?|[12][0-9][0-9]|300)s$",
        default=PREPARE_TIMEOUT,
    ),
}
_ACCESS = {"files": "files: {read: [/etc/tokens]}", "network": "network: [id.internal:443]"}
"""The keys that say which files and addresses a policy may reach, with an example of each."""


def definition_mistakes(document: object) -> Iterator[DefinitionMistake]:
    """All mistakes of a parsed policy definition but those in its JSON Schemas. Builder, controller, command line and
    SDK share this grammar of names, versions and modes.
    """
    if not isinstance(document, Mapping):
        yield _no_mapping(document)
        return
    yield from _key_mistakes((), document, DEFINITION_KEYS, tuple(_ACCESS))
    for path, expected, value in access_mistakes(document):
        cure = "remove it" if document.get("runtime") == "go" else f"write it like {_ACCESS[str(path[0])]}"
        yield DefinitionMistake(path, expected, cure, value)
    modes = document.get("processingMode")
    if isinstance(modes, Mapping):
        wrong = list(_key_mistakes(("processingMode",), modes, MODE_KEYS))
        yield from wrong or _phase_mistakes(_processing_mode(modes))


def _no_mapping(document: object) -> DefinitionMistake:
    expected, words = f"a mapping with {', '.join((*DEFINITION_KEYS, *_ACCESS))}", "nothing" if document is None else ""
    return DefinitionMistake((), expected, "write its keys", document, words)


def _key_mistakes(
    path: tuple[str, ...], document: Mapping[Any, Any], fields: Mapping[str, KeyRule], beside: tuple[str, ...] = ()
) -> Iterator[DefinitionMistake]:
    known = (*fields, *beside)
    for key in document:
        if key not in known:
            below = not path and key in MODE_KEYS
            cure = "write it below processingMode" if below else "remove it or correct its name"
            yield DefinitionMistake((*path, str(key)), f"one of {', '.join(known)}", cure, key)
    for key, rule in fields.items():
        if key not in document:
            if rule.required:
                yield DefinitionMistake((*path, key), rule.expected, rule.cure, words="nothing")
        elif not rule.fits(document[key]):
            yield DefinitionMistake((*path, key), rule.expected, rule.cure, document[key])


def _phase_mistakes(mode: ProcessingModeConfig) -> Iterator[DefinitionMistake]:
    path = ("processingMode", _BODY_IN_RESPONSE)
    if mode.request_body_in_response and mode.request_body_mode is not BodyMode.BUFFER:
        words, cure = f"requestBodyMode: {mode.request_body_mode}", "write BUFFER, or remove it"
        yield DefinitionMistake(path, "requestBodyMode: BUFFER beside it", cure, words=words)
    if mode.request_body_in_response and not mode.wants_response:
        words = "STREAM alone" if mode.response_body_mode is BodyMode.STREAM else "SKIP for both"
        expected, cure = "a response phase that calls on_response", "write responseHeaderMode: PROCESS, or remove it"
        yield DefinitionMistake(path, expected, cure, words=words)
    if not mode.hooks:
        cure = "write PROCESS, BUFFER or STREAM for a phase that the policy is to be called in"
        yield DefinitionMistake(("processingMode",), "a phase that is not SKIP", cure, words="none")
