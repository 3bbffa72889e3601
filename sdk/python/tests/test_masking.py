import asyncio
import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import re2
from gatewright import llm, masking, streams
from hypothesis import given
from hypothesis import strategies as st


class Word:
    def __init__(self, word: str) -> None:
        self.name, self.longest = word, len(word)

    def find(self, text: str, at: int) -> Iterator[masking.Span]:
        return (match.span() for match in re.compile(self.name).finditer(text, at))

    def held_from(self, text: str, at: int) -> int:
        return max(at, len(text) - self.longest + 1)


def masking_of(*words: str, counted: list[str] | None = None) -> masking.Masking:
    counts: list[str] = [] if counted is None else counted
    return masking.Masking([Word(word) for word in words], {word: lambda _: "*" for word in words}, counts.append)


@given(pieces=st.lists(st.text("abc", max_size=5), max_size=12))
def test_the_boundaries_of_pieces_do_not_affect_the_result(pieces: list[str]) -> None:
    rule = masking_of("abc", "bca", "aa")
    stream = masking.MaskedText(rule)
    passed = ""
    for piece in pieces:
        passed += stream.feed(piece)
        assert stream.held <= rule.longest
    assert passed + stream.end() == rule.mask("".join(pieces))


def test_each_match_is_counted_once() -> None:
    counted: list[str] = []
    stream = masking.MaskedText(masking_of("ab", counted=counted))
    assert [stream.feed(piece) for piece in ("xa", "bx", "ab")] == ["x", "*", "x*"]
    assert (stream.end(), counted) == ("", ["ab", "ab"])


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a+", "matches longer ones"),
        ("a{1,1025}", "matches longer ones"),
        ("a?", "matches the empty text"),
        ("^a", "an anchor"),
        (r"a\Z", "an anchor"),
        ("(", "missing"),
        ("[[a]", "nested set"),
    ],
)
def test_a_pattern_that_no_stream_can_be_searched_for_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        masking.longest_match("mine", pattern)


def test_the_longest_match_of_a_pattern() -> None:
    assert masking.longest_match("mine", r"\bsk-[a-z0-9]{8,20}\b") == 23


PATTERNS = (
    r"\bsk-[a-z0-9]{2,6}\b",
    r"(?i)(?:\bsecret\b|sec\Bond|\*\*)",
    r"(?s)a.{1,3}(?-s:.)\d{2}?",
    r"x(?:y(?:z|[^a-c\s]{2})){2,3}-?",
    r"[\w.-]{1,4}@(?P<host>[^@\W]{1,3})",
    r"a(?i:b)[^B]\D\S",
    "(?:ab{0}c{0,2}|d){2}",
)


@given(data=st.data())
def test_no_part_of_a_match_is_outside_of_what_it_may_begin_with(data: st.DataObject) -> None:
    """Wherever a text is cut, the leftmost beginning at its end is where a match that goes over the cut begins."""
    pattern = data.draw(st.sampled_from(PATTERNS))
    matches = st.from_regex(pattern, fullmatch=True, alphabet=st.characters(max_codepoint=0x7F))
    parts = data.draw(st.lists(st.one_of(matches, st.text("ab sx-*1", max_size=4)), min_size=1, max_size=4))
    text, searched = "".join(parts), re2.compile(pattern)
    beginning = re2.compile(masking.beginning_of_matches(pattern))
    for cut in range(len(text) + 1):
        held_from = beginning.search(text[:cut]).start()
        assert all(
            held_from <= match.start() for match in searched.finditer(text) if match.start() < cut <= match.end()
        )


@pytest.mark.parametrize(
    ("text", "held"),
    [("all of it", ""), ("task", ""), ("a s", "s"), ("a sk", "sk"), ("a sk-", "sk-"), ("sk-!", ""), ("sk-abcdefg", "")],
)
def test_what_can_begin_no_match_is_not_held_back(text: str, held: str) -> None:
    match = re2.compile(masking.beginning_of_matches(PATTERNS[0])).search(text)
    assert text[match.start() :] == held


def test_what_may_begin_a_long_match_has_a_pattern_too() -> None:
    """RE2 does not take a group in a group for each character."""
    beginning = re2.compile(masking.beginning_of_matches("ab" * 512))
    assert beginning.search("-" + "ab" * 300).start() == 1


def test_what_re2_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="expected what RE2 has, got ASSERT"):
        masking.beginning_of_matches("a(?=b)c")


STRINGS = st.lists(st.text("ab", max_size=4) | st.integers(0, 150).map(str) | st.just("x" * 300), max_size=80)


@given(documents=st.lists(st.fixed_dictionaries({"a": STRINGS, "b": st.text("ab", max_size=3)}), max_size=4))
def test_the_strings_of_documents_are_masked_as_those_of_each(documents: list[dict[str, Any]]) -> None:
    counts: tuple[list[str], list[str]] = ([], [])
    alone, following = (masking_of("ab", "aa", counted=counted) for counted in counts)
    strings = masking.MaskedStrings(following)

    async def run() -> None:
        for document in documents:
            expected, got = ([copy.deepcopy(document)] for _ in range(2))
            assert await strings.mask(got) == await masking.mask_strings(expected, alone)
            assert got == expected

    asyncio.run(run())
    assert counts[0] == counts[1]


def test_a_string_without_a_match_is_searched_once() -> None:
    searched: list[str] = []

    class Recorder(Word):
        def find(self, text: str, at: int) -> Iterator[masking.Span]:
            searched.append(text)
            return super().find(text, at)

    rule = masking.Masking([Recorder("secret")], {"secret": lambda _: "*"}, lambda _: None)
    strings = masking.MaskedStrings(rule)
    documents = [{"id": "1", "text": f"a secret {number}"} for number in range(3)]
    for document in documents:
        assert asyncio.run(strings.mask([document]))
    assert searched.count("1") == 1
    assert [document["text"] for document in documents] == ["a * 0", "a * 1", "a * 2"]


def filtered(*documents: Any) -> list[Any]:
    rule = masking_of("secret")
    events = llm.EventFilter(lambda: masking.MaskedText(rule), masking.MaskedStrings(rule).mask)

    async def run() -> bytes:
        passed: list[bytes] = []
        for document in documents:
            (event,) = streams.SseParser().feed(streams.SseEvent(masking.write_json(document)).encode())
            passed += await events.feed(event)
        return b"".join([*passed, *events.end()])

    return [masking.read_json(event.data or "")[0] for event in streams.SseParser().feed(asyncio.run(run()))]


@pytest.mark.parametrize("text", ["", "a", "a" * 8192], ids=["none", "short", "long"])
def test_other_work_goes_on_between_events(text: str) -> None:
    events = llm.EventFilter(lambda: masking.MaskedText(masking_of("secret")), masking.MaskedStrings(masking_of()).mask)
    (event,) = streams.SseParser().feed(streams.SseEvent(masking.write_json(delta(text))).encode())

    async def run() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count())
        for _ in range(64):
            await events.feed(event)
        counting.cancel()
        return turns

    assert asyncio.run(run()) >= 1


def delta(text: str, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}}]}


def test_texts_of_a_model_are_filtered_across_events() -> None:
    answers = filtered(delta("a sec"), delta("se", 1), delta("ret b"), delta("c", 1))
    texts = [(choice["index"], choice["delta"]["content"]) for answer in answers for choice in answer["choices"]]
    assert "".join(text for index, text in texts if index == 0) == "a * b"
    assert "".join(text for index, text in texts if index == 1) == "sec"


def test_other_strings_of_an_event_are_filtered_separately() -> None:
    done = {"type": "response.output_text.done", "text": "the secret"}
    assert filtered(done) == [{**done, "text": "the *"}]
