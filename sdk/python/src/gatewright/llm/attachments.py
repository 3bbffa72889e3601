"""Which members of a prompt are images, audio and files, inlined or named, and no text."""

from __future__ import annotations

from typing import Any

_STRINGS_TOO = {"image_url", "file_data", "file_url"}
_OBJECTS = {"image_url", "input_audio", "file", "inlineData", "inline_data", "fileData", "file_data"}
_SOURCES = {"base64", "url", "file"}
"""Types of Anthropic's `source` that are no text; its other types are text and content."""


def is_attachment(name: str, member: Any) -> bool:
    if isinstance(member, str):
        return name in _STRINGS_TOO
    if isinstance(member, dict):
        return name in _OBJECTS or (name == "source" and member.get("type") in _SOURCES)
    return False


def is_image(name: str, member: Any) -> bool:
    """Whether an attachment is an image: by its name, or by the media type beside its data."""
    if name == "image_url":
        return True
    types = [member.get(key) for key in ("media_type", "mimeType", "mime_type")] if isinstance(member, dict) else []
    return any(isinstance(kind, str) and kind.startswith("image/") for kind in types)


def attached_length(member: Any) -> int:
    """The characters of an attachment: of its data, its URL or its id."""
    if isinstance(member, dict):
        return sum(len(value) for value in member.values() if isinstance(value, str))
    return len(member)
