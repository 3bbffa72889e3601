"""Requests to language models and their answers, whatever the provider: read once, for all policies.

    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")     # None: no request to a model
    reader = llm.AnswerReader(request.shape, content_type)
    reader.feed(chunk)                                                    # for each chunk, cut anywhere
    reader.end()
    cost = prices.cost(reader.model or request.model, reader.usage)       # a Decimal; None: no price is known

It knows six shapes: OpenAI's chat completions, completions, responses and embeddings, Anthropic's messages, and
Gemini's generateContent. `Usage` means the same for each of them. Nothing here raises for what a client or a provider
sends: what cannot be read is not there. Standard library only.
"""

from gatewright.llm.answer import AnswerError, AnswerReader
from gatewright.llm.filtering import EventFilter, TextFilter
from gatewright.llm.places import TextDelta, TextPlace, answer_places, ended_texts, text_places
from gatewright.llm.prices import Price, PriceError, Prices
from gatewright.llm.prompt import PromptText
from gatewright.llm.refusals import problem
from gatewright.llm.request import LlmRequest, read_request
from gatewright.llm.shapes import SHAPES, PathShape, Shape, shape_of_path
from gatewright.llm.stream_usage import UsageChunkFilter, is_usage_chunk, read_answer, with_stream_usage
from gatewright.llm.translation import (
    StreamTranslator,
    TranslationError,
    can_translate,
    translate_answer,
    translate_path,
    translate_request,
)
from gatewright.llm.usage import Usage, read_usage

__all__ = [
    "SHAPES",
    "AnswerError",
    "AnswerReader",
    "EventFilter",
    "LlmRequest",
    "PathShape",
    "Price",
    "PriceError",
    "Prices",
    "PromptText",
    "Shape",
    "StreamTranslator",
    "TextDelta",
    "TextFilter",
    "TextPlace",
    "TranslationError",
    "Usage",
    "UsageChunkFilter",
    "answer_places",
    "can_translate",
    "ended_texts",
    "is_usage_chunk",
    "problem",
    "read_answer",
    "read_request",
    "read_usage",
    "shape_of_path",
    "text_places",
    "translate_answer",
    "translate_path",
    "translate_request",
    "with_stream_usage",
]
