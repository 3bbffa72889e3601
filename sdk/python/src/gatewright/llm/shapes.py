"""Which shape of request a path is for. The body decides with it: `request.py`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args
from urllib.parse import unquote

Shape = Literal["chat", "completions", "responses", "messages", "gemini", "embeddings"]
"""chat, completions, responses, embeddings: OpenAI's and compatible ones; messages: Anthropic's; gemini: Gemini's."""
SHAPES: tuple[Shape, ...] = get_args(Shape)

_ENDINGS: tuple[tuple[str, Shape], ...] = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/responses", "responses"),
    ("/messages", "messages"),
    ("/embeddings", "embeddings"),
)
_GEMINI = re.compile(
    r"/(?:models|tunedModels|endpoints)/([^/]+?):(generateContent|streamGenerateContent|embedContent|batchEmbedContents)"
)
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")


class PathShape(NamedTuple):
    shape: Shape
    model: str
    """The model that the path names: Gemini's, or a deployment of Azure's. "" if it names none."""
    method: str
    """The method of Gemini's that the path names, such as streamGenerateContent; "" for other shapes."""


def shape_of_path(path: str) -> PathShape | None:
    """The shape of requests to a path, which may have a query and any path before the part that is known."""
    plain = unquote(path.partition("?")[0]).rstrip("/")
    if found := _GEMINI.search(plain):
        is_end = found.end() == len(plain)
        return PathShape("gemini", found[1], found[2]) if is_end else None
    for ending, shape in _ENDINGS:
        if plain.endswith(ending):
            deployment = _DEPLOYMENT.search(plain)
            return PathShape(shape, deployment[1] if deployment else "", "")
    return None
