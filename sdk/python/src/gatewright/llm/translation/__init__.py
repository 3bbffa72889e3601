"""Translates requests and answers between OpenAI's chat completions and Anthropic's messages."""

from gatewright.llm.translation.answers import translate_answer
from gatewright.llm.translation.mistakes import TranslationError
from gatewright.llm.translation.translating import StreamTranslator, can_translate, translate_path, translate_request

__all__ = [
    "StreamTranslator",
    "TranslationError",
    "can_translate",
    "translate_answer",
    "translate_path",
    "translate_request",
]
