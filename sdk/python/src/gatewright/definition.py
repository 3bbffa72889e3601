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
PREPARE_TIMEOUT_PATTERN = r"\A([1-9][0-9]?|[12][0-9][0-9]|300)s\Z"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)


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
    """What becomes of a body that a policy wants and that has a content encoding other than identity."""

    REFUSE = "REFUSE"  # the execution fails with badBody: the policy would not understand what it sees
    PASS = "PASS"  # noqa: S105 - the policy is given it as it is


@dataclass(frozen=True, slots=True)
class ProcessingModeConfig:
    """Which phases a policy is called in. One that wants headers and body of a direction is called once, with both."""

    request_header_mode: HeaderMode = HeaderMode.SKIP
    request_body_mode: BodyMode = BodyMode.SKIP
    response_header_mode: HeaderMode = HeaderMode.SKIP
    response_body_mode: BodyMode = BodyMode.SKIP
    request_body_in_response: bool = False  # on_response is given the request's body too, as it went upstream
    encoded_bodies: EncodedBodies = EncodedBodies.REFUSE

    @property
    def wants_request(self) -> bool:
        """Whether on_request is called at all."""
        return self.request_header_mode is HeaderMode.PROCESS or self.request_body_mode is not BodyMode.SKIP

    @property
    def wants_response(self) -> bool:
        """Whether on_response is called at all."""
        return self.response_header_mode is HeaderMode.PROCESS or self.response_body_mode is not BodyMode.SKIP

    @property
    def keeps_unread_request_body(self) -> bool:
        """Whether it asks for the request's body in a response phase without having asked for both: a mistake."""
        wants_both = self.request_body_mode is BodyMode.BUFFER and self.wants_response
        return self.request_body_in_response and not wants_both


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
    allow_continue: bool = True  # False: no attachment may say onError: continue. For what security rests on
    prepare_timeout: str = PREPARE_TIMEOUT  # that `prepare` may take; Python only
    access: Access = field(default_factory=Access)  # `files` and `network`; Python only

    @classmethod
    def from_document(cls, document: object) -> PolicyDefinition:
        """The definition that a parsed YAML or JSON document holds; DefinitionError names all its mistakes."""
        if not isinstance(document, Mapping):
            raise DefinitionError([f"$: expected an object, got {type(document).__name__}"])
        if mistakes := list(_mistakes(document)):
            raise DefinitionError(mistakes)
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


class DefinitionError(ValueError):
    """A definition that is not one. `mistakes` has a sentence for each: where, expected, got."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
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
        encoded_bodies=EncodedBodies(modes.get("encodedBodies", "REFUSE")),
    )


_MODES: dict[str, type[HeaderMode] | type[BodyMode] | type[EncodedBodies]] = {
    "requestHeaderMode": HeaderMode,
    "requestBodyMode": BodyMode,
    "responseHeaderMode": HeaderMode,
    "responseBodyMode": BodyMode,
    "encodedBodies": EncodedBodies,
}
_BODY_IN_RESPONSE = "requestBodyInResponse"
_TEXTS = {
    "name": (_NAME, "lower-case words joined by hyphens, like add-python-header"),
    "version": (_VERSION, "an exact version, like v1.2.3"),
    "runtime": (re.compile("|".join(Runtime)), "one of " + ", ".join(Runtime)),
}
_OPTIONAL = {
    "displayName": str,
    "description": str,
    "parameters": Mapping,
    "systemParameters": Mapping,
    "allowContinue": bool,
    "prepareTimeout": str,
}
_ACCESS = ("files", "network")
_KINDS = {str: "a string", Mapping: "an object", bool: "true or false"}


def _mistakes(document: Mapping[Any, Any]) -> Iterator[str]:
    yield from _unknown_keys("", document, [*_TEXTS, "processingMode", *_OPTIONAL, *_ACCESS])
    for key, (pattern, expected) in _TEXTS.items():
        value = document.get(key)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield f"{key}: expected {expected}, got {_got(document, key)}"
    for key, kind in _OPTIONAL.items():
        if key in document and not isinstance(document[key], kind):
            yield f"{key}: expected {_KINDS[kind]}, got {_got(document, key)}"
    timeout = document.get("prepareTimeout", PREPARE_TIMEOUT)
    if isinstance(timeout, str) and not re.search(PREPARE_TIMEOUT_PATTERN, timeout):
        yield f"prepareTimeout: expected a time from 1s to 300s, got {timeout!r:.60}"
    yield from (
        f"{'.'.join(map(str, path))}: expected {expected}, got {got!r:.60}"
        for path, expected, got in access_mistakes(document)
    )
    yield from _mode_mistakes(document)


def _mode_mistakes(document: Mapping[Any, Any]) -> Iterator[str]:
    modes = document.get("processingMode")
    if not isinstance(modes, Mapping):
        yield f"processingMode: expected an object, got {_got(document, 'processingMode')}"
        return
    yield from _unknown_keys("processingMode.", modes, [*_MODES, _BODY_IN_RESPONSE])
    mistakes = [
        f"processingMode.{key}: expected one of {', '.join(kind)}, got {_got(modes, key)}"
        for key, kind in _MODES.items()
        if key in modes and modes[key] not in list(kind)
    ]
    if not isinstance(modes.get(_BODY_IN_RESPONSE, False), bool):
        mistakes.append(
            f"processingMode.{_BODY_IN_RESPONSE}: expected true or false, got {_got(modes, _BODY_IN_RESPONSE)}"
        )
    yield from mistakes
    if not mistakes and _processing_mode(modes).keeps_unread_request_body:
        yield (
            f"processingMode.{_BODY_IN_RESPONSE}: expected requestBodyMode: BUFFER and a response phase beside true, "
            f"got {dict(modes)!r:.200}"
        )


def _unknown_keys(where: str, document: Mapping[Any, Any], known: list[str]) -> Iterator[str]:
    for key in document:
        if key not in known:
            yield f"{where}{key}: unknown key, the known ones are {', '.join(known)}"


def _got(document: Mapping[Any, Any], key: str) -> str:
    return f"{document[key]!r:.60}" if key in document else "nothing"
