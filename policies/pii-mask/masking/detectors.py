"""Detectors of personal data in a text: each has a pattern, and verifies the checksum if there is one.

The built-in patterns have matches of bounded length and are searched in linear time. Those of a publisher run on RE2,
whose time is linear. They are refused if a match could have any length, or depends on where the text begins or ends,
which has no meaning in a stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import re2
from sdk.masking import Detector, Span, beginning_of_matches, longest_match

Accept = Callable[[str, "re.Match[str]"], int]
LARGEST_PROGRAM = 2000
"""The most instructions of RE2's program, since a count such as `{200}` makes many of a few characters. RE2 needs tens
of milliseconds for a text where its memory is too small for one."""
ANYTHING = r"(?s).*\z"
SURROGATES = re.compile("[\ud800-\udfff]")
SEPARATOR = "[ \u00a0-]"
DIGITS, LETTERS = re.compile("[0-9]"), re.compile("[A-Za-z][0-9]{2}")


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A built-in detector.

    needs: a quick pattern without which a text has no match. accept: returns the end of the match in a candidate that
    the pattern has found; 0: it is no match, and the search goes on from its second character. beginning: a pattern
    that matches every beginning of a match, up to the text's end.
    """

    name: str
    needs: re.Pattern[str]
    pattern: re.Pattern[str]
    beginning: re.Pattern[str]
    longest: int
    accept: Accept

    def find(self, text: str, at: int) -> Iterator[Span]:
        if not self.needs.search(text, at):
            return
        while match := self.pattern.search(text, at):
            end = self.accept(text, match)
            if end:
                yield match.start(), end
            at = end or match.start() + 1

    def held_from(self, text: str, at: int) -> int:
        match = self.beginning.search(text, max(at, len(text) - self.longest))
        return match.start() if match else len(text)


@dataclass(frozen=True, slots=True)
class Custom:
    """A detector with a publisher's pattern.

    beginning: a pattern that matches the beginning of a match, up to the text's end.
    """

    name: str
    pattern: Any
    beginning: Any
    longest: int

    def find(self, text: str, at: int) -> Iterator[Span]:
        yield from (match.span() for match in self.pattern.finditer(_searchable(text), at))

    def held_from(self, text: str, at: int) -> int:
        return int(self.beginning.search(_searchable(text), max(at, len(text) - self.longest)).start())


def _searchable(text: str) -> str:
    """RE2 accepts only UTF-8."""
    return SURROGATES.sub("\ufffd", text)


# ------------------------------------------------------------------ publishers' patterns


def compile_custom(name: str, pattern: str) -> Custom:
    """Returns the detector of a publisher's pattern. ValueError: the pattern cannot be used."""
    longest = longest_match(name, pattern)
    compiled = _compile(name, pattern)
    if compiled.programsize > LARGEST_PROGRAM:
        expected = f"expected a pattern of RE2's syntax, got {name}: {pattern!r}"
        raise ValueError(f"{expected}, which is too large: write it with smaller counts")
    beginning = _compile(name, beginning_of_matches(pattern))
    if beginning.programsize > LARGEST_PROGRAM:
        beginning = _compile(name, ANYTHING)  # as many characters as a match may have are held back
    return Custom(name, compiled, beginning, longest + 1)


def _compile(name: str, pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # the ValueError reports them
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        words = reason.decode() if isinstance(reason, bytes) else reason
        raise ValueError(f"expected a pattern of RE2's syntax, got {name}: {pattern!r}: {words}") from None


# ------------------------------------------------------------------ built-in detectors


def _whole_match(_: str, match: re.Match[str]) -> int:
    return match.end()


def _card(text: str, match: re.Match[str]) -> int:
    """The end of a card number of 13 to 19 digits (ISO/IEC 7812-1); further digits may be something else."""
    places = [at for at in range(*match.span()) if text[at].isdigit()]
    digits = [ord(text[at]) - 48 for at in places]
    for count in range(len(digits), 12, -1):
        end = places[count - 1] + 1
        if not text[end : end + 1].isdecimal() and luhn(digits[:count]):
            return end
    return 0


def luhn(digits: list[int]) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


IBAN_LENGTHS: Mapping[str, int] = {
    country: int(length)
    for length, countries in (
        line.split(":")
        for line in (
            "15:NO", "16:BE", "18:DK FI FO GL NL SD", "19:MK SI", "20:AT BA EE KZ LT LU MN XK", "21:CH HR LI LV",
            "22:BG BH CR DE GB GE IE ME RS VA", "23:AE GI IL IQ OM SO TL", "24:AD CZ ES MD PK RO SA SE SK TN VG",
            "25:LY PT ST", "26:IS TR", "27:BI DJ FR GR IT MC MR SM", "28:AL AZ BY CY DO GT HU LB NI PL SV",
            "29:BR EG PS QA UA", "30:JO KW MU", "31:MT SC", "32:LC", "33:RU",
        )
    )
    for country in countries.split()
}  # fmt: skip
"""The length of an IBAN (ISO 13616, the registry of SWIFT), by country."""


def _iban(text: str, match: re.Match[str]) -> int:
    places = [at for at in range(*match.span()) if text[at].isalnum()]
    count = IBAN_LENGTHS.get(match[0][:2].upper(), 0)
    if not 0 < count <= len(places):
        return 0
    end = places[count - 1] + 1
    letters = "".join(text[at] for at in places[:count]).upper()
    remainder = int("".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4])) % 97
    return end if remainder == 1 and not text[end : end + 1].isalnum() else 0


def _ssn(_: str, match: re.Match[str]) -> int:
    area, group, serial = match[1], match[3], match[4]
    is_assigned = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return match.end() if is_assigned else 0


def _address(text: str, match: re.Match[str]) -> int:
    """The end of an IP address, without the punctuation of a sentence that ends with it."""
    ends = [match.end()] if not text[match.end() : match.end() + 1].isalnum() else []
    while ends and text[ends[-1] - 1] in ".:" and len(ends) < 3:
        ends.append(ends[-1] - 1)
    for end in ends:
        candidate = text[match.start() : end]
        if candidate.strip(":") and _is_address(candidate):
            return end
    return 0


def _is_address(candidate: str) -> bool:
    try:
        ip_address(candidate)
    except ValueError:
        return False
    return True


def _german_tax_id(_: str, match: re.Match[str]) -> int:
    """11 digits with the check of ISO 7064, mod 11,10; one of the first ten occurs two or three times."""
    digits = [int(character) for character in match[0] if character.isdigit()]
    counts = sorted(digits[:10].count(digit) for digit in range(10))
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    is_valid = (11 - product) % 10 == digits[10] and counts[-1] in {2, 3} and counts[-2] == 1
    return match.end() if is_valid else 0


def _beginning(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})\Z")


def _built_in() -> Iterator[BuiltIn]:
    yield BuiltIn(
        "creditCard",
        DIGITS,
        re.compile(rf"(?<![0-9])(?<![0-9]\.)[2-6](?:{SEPARATOR}?[0-9]){{12,18}}"),
        _beginning(r"[2-6][0-9 \u00a0-]*"),
        39,
        _card,
    )
    yield BuiltIn(
        "iban",
        LETTERS,
        re.compile(rf"(?<![A-Za-z0-9])[A-Za-z]{{2}}[0-9]{{2}}(?:{SEPARATOR}?[A-Za-z0-9]){{11,30}}"),
        _beginning(r"[A-Za-z](?:[A-Za-z](?:[0-9](?:[0-9][A-Za-z0-9 \u00a0-]*)?)?)?"),
        66,
        _iban,
    )
    local, label = "[A-Za-z0-9._%+'-]", "[A-Za-z0-9-]{1,63}"
    yield BuiltIn(
        "email",
        re.compile("@"),
        re.compile(rf"(?<!{local}){local}{{1,64}}@{label}(?:\.{label}){{1,5}}"),
        _beginning(rf"{local}{{1,64}}+(?:@[A-Za-z0-9.-]*)?"),
        450,
        _whole_match,
    )
    yield BuiltIn(
        "phone",
        re.compile(r"\+"),
        re.compile(r"\+[1-9](?:[ \u00a0()./-]{0,2}[0-9]){6,14}(?![0-9])"),
        _beginning(r"\+[0-9 \u00a0()./-]*"),
        46,
        _whole_match,
    )
    yield BuiltIn(
        "usSsn",
        DIGITS,
        re.compile(r"(?<![0-9])(?<![0-9]-)([0-9]{3})([ -])([0-9]{2})\2([0-9]{4})(?![0-9])(?!-[0-9])"),
        _beginning(r"[0-9][0-9 -]*"),
        14,
        _ssn,
    )
    yield BuiltIn(
        "ipv4",
        re.compile(r"\."),
        re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])(?!\.[0-9])"),
        _beginning(r"[0-9][0-9.]*"),
        18,
        _address,
    )
    yield BuiltIn(
        "ipv6",
        re.compile(":"),
        re.compile(r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:.]{2,45}"),
        _beginning(r"[0-9A-Fa-f:][0-9A-Fa-f:.]*"),
        47,
        _address,
    )
    yield BuiltIn(
        "germanTaxId",
        DIGITS,
        re.compile(r"(?<![0-9])[1-9](?:[ /]?[0-9]){10}(?![0-9])"),
        _beginning(r"[1-9][0-9 /]*"),
        23,
        _german_tax_id,
    )


BUILT_IN: Mapping[str, Detector] = {detector.name: detector for detector in _built_in()}
