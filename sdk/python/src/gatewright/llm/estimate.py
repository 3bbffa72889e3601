"""How many tokens a prompt may have, without the model's tokenizer.

It counts the characters of all strings and member names of the document, by kind: a small letter or a space is a third
of a token, a digit half a token, a capital or a sign two thirds, a character that is not ASCII five twelfths for each
of its bytes in UTF-8, and 14 twelfths more if it has four, as emojis have. Each string is rounded up, and each object,
number, true, false and null is a token more. A prompt that is given as numbers of tokens is counted exactly.

The estimate is mostly above the truth, which a reservation wants. It was measured with the tokenizers cl100k, o200k,
DeepSeek's and an early one of Anthropic's: for English, German and code it is 1.1 to 1.7 times their tokens, for JSON
and tables 0.9 to 1.3, for Chinese, Japanese, Russian and Hindi 1.0 to 4.2, for rows of digits, signs and emojis 1.0 to
1.5, for random base64 and hex 0.7 to 0.8.

An image counts 1,600 tokens, what Anthropic takes for a large one. Audio and files count one for each 8 characters of
their base64, and 1,600 at least. What only the provider has is not counted: earlier responses, conversations and
cached contents that a request names.
"""

from __future__ import annotations

from typing import Any

from gatewright.llm.attachments import attached_length, is_attachment, is_image
from gatewright.llm.json_values import Json

ATTACHMENT_TOKENS = 1600
BASE64_A_TOKEN = 8
_DIGITS = b"0123456789"
_CAPITALS_AND_SIGNS = bytes(byte for byte in range(0x21, 0x7F) if not chr(byte).islower() and not chr(byte).isdigit())
_NO_ASCII = bytes(range(0x80, 0x100))
_LEADS_OF_FOUR = bytes(range(0xF0, 0x100))
"""Bytes with which characters of four bytes begin."""


def estimate_tokens(document: Json) -> int:
    """The tokens of all that a document has. It walks without recursion: a client may nest deeply."""
    total = 0
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            total += _text_tokens(value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            total += 1
            for name, member in value.items():
                total += _text_tokens(name)
                if is_attachment(name, member):
                    total += _attachment_tokens(name, member)
                else:
                    waiting.append(member)
        else:
            total += 1
    return total


def _attachment_tokens(name: str, member: Any) -> int:
    if is_image(name, member):
        return ATTACHMENT_TOKENS
    return max(ATTACHMENT_TOKENS, attached_length(member) // BASE64_A_TOKEN)


def _text_tokens(text: str) -> int:
    """The tokens of a text, in twelfths until it is rounded up."""
    data = text.encode("utf-8", "surrogatepass")
    twelfths = 4 * len(data)
    twelfths += 2 * _count(data, _DIGITS) + 4 * _count(data, _CAPITALS_AND_SIGNS)
    if not text.isascii():
        twelfths += _count(data, _NO_ASCII) + 14 * _count(data, _LEADS_OF_FOUR)
    return -(-twelfths // 12)


def _count(data: bytes, kinds: bytes) -> int:
    return len(data) - len(data.translate(None, kinds))
