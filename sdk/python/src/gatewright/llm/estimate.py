"""How many tokens a prompt may have, without the model's tokenizer.

It counts a token for each 3 bytes of UTF-8 in every string and member name of the document, rounded up, and one for
each object, number, true, false and null. English text has 4 to 5 bytes a token, code and other alphabets 3 to 4,
Chinese 3 and more, so the estimate is mostly above the truth, which a reservation wants; rows of digits, of signs and
of emojis may have more. A prompt that is given as numbers of tokens is counted exactly.

An image counts 1,600 tokens, what Anthropic takes for a large one. Audio and files count one for each 8 characters of
their base64, and 1,600 at least. What only the provider has is not counted: earlier responses, conversations and
cached contents that a request names.
"""

from __future__ import annotations

from typing import Any

from gatewright.llm.attachments import attached_length, is_attachment, is_image
from gatewright.llm.json_values import Json

BYTES_A_TOKEN = 3
ATTACHMENT_TOKENS = 1600
BASE64_A_TOKEN = 8


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
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_A_TOKEN)
