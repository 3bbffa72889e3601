"""gatewright.charsets: which charsets there are, and what a body is written in, whatever clients write."""

import codecs
import encodings
import random
from typing import Any

import pytest
from gatewright import charsets, streams, testing
from gatewright.charsets import CharsetError
from hypothesis import given
from hypothesis import strategies as st

LETTERS = "0123456789 abcxyz ABCXYZ @.+-"


@pytest.mark.parametrize("name", charsets.CHARSETS)
def test_each_name_of_the_list_is_an_encoding_that_has_ascii_as_ascii(name: str) -> None:
    found = charsets.encoding(name)
    assert found == codecs.lookup(found).name, "Python's own name, so that no other one is remembered"
    if found != "utf-16":
        assert LETTERS.encode(found) == LETTERS.encode("ascii")
    assert charsets.decode(LETTERS.encode(found), name) == LETTERS


@pytest.mark.parametrize("name", ["UTF-8", " utf-8 ", "'utf-8'", "utf_8", "Utf8"])
def test_names_count_in_any_case_and_with_underscores(name: str) -> None:
    assert charsets.encoding(name) == "utf-8"


@pytest.mark.parametrize(
    "name",
    [
        *("", "klingon", "utf-7", "utf-16-le", "utf-16be", "utf-32", "idna", "punycode", "undefined", "base64"),
        *("unicode_escape", "raw_unicode_escape", "mbcs", "charmap", "cp037", "iso-8859-12", "\udcff", "../utf-8"),
    ],
)
def test_all_others_are_refused_by_name(name: str) -> None:
    with pytest.raises(CharsetError) as caught:
        charsets.encoding(name)
    assert str(caught.value).startswith("expected the charset utf-8, us-ascii, iso-8859-1 to -15, windows-1250 ")
    assert str(caught.value).endswith(f"got {name!a}")


def test_an_error_quotes_at_most_40_characters() -> None:
    with pytest.raises(CharsetError) as caught:
        charsets.encoding("x" * 1_000_000)
    assert str(caught.value).endswith(f"got '{'x' * 40}'…")


def test_python_remembers_no_name_that_a_client_has_invented() -> None:
    chance = random.Random(28)  # noqa: S311 — no secret
    names = [f"x-{chance.getrandbits(64):x}" for _ in range(10_000)]
    charsets.decode(b"a", "utf-8")
    before = len(encodings._cache)  # which keeps the names
    for name in names:
        with pytest.raises(CharsetError):
            charsets.decode(b"<a/>", name, xml=True)
        with pytest.raises(CharsetError):
            charsets.decode(f"<?xml version='1.0' encoding='{name}'?><a/>".encode(), xml=True)
    assert len(encodings._cache) == before


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("", ""),
        ("text/plain", ""),
        ("text/plain; charset=utf-8", "utf-8"),
        ("text/plain;Charset = UTF-8 ; x=1", "UTF-8"),
        ('text/plain; charset="utf-8"', "utf-8"),
        (r'text/plain; charset="ut\f-8"', "utf-8"),
        ('text/plain; x="; charset=utf-7"; charset=utf-8', "utf-8"),
        ('text/plain; x="; charset=utf-7', "utf-7"),
        ("text/plain; charset=utf-8; charset=UTF-8", "UTF-8"),
        ("text/plain; charset", ""),
        ("text/plain; charset=", ""),
        ("text/plain; my-charset=utf-7", ""),
    ],
)
def test_the_charset_of_a_content_type(content_type: str, charset: str) -> None:
    assert charsets.of_content_type(content_type).lower() == charset.lower()


def test_two_charsets_are_refused() -> None:
    with pytest.raises(CharsetError, match="expected one charset in the content type, got several"):
        charsets.of_content_type("text/plain; charset=utf-8; charset=iso-8859-1")


@pytest.mark.parametrize(
    ("body", "charset", "found"),
    [
        (b"", "", "utf-8"),
        (b"a", "", "utf-8"),
        (b"a", "us-ascii", "ascii"),
        (b"\xef\xbb\xbfa", "", "utf-8-sig"),
        (b"\xef\xbb\xbfa", "iso-8859-1", "utf-8-sig"),
        ("a".encode("utf-16"), "", "utf-16"),
        ("a".encode("utf-16"), "utf-8", "utf-16"),
        (b"\xfe\xff\0a", "utf-16", "utf-16"),
    ],
)
def test_a_byte_order_mark_counts_before_the_charset(body: bytes, charset: str, found: str) -> None:
    assert charsets.detect(body, charset) == found
    assert charsets.decode(body, charset) == ("a" if body else "")


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("ada@example.org".encode("utf-16-le"), ""),
        ("ada@example.org".encode("utf-16-be"), "utf-8"),
        (b"ada@example.org", "utf-16"),
        ("ada@example.org".encode("utf-32"), ""),
        ("ada@example.org".encode("utf-32-be"), "utf-8"),
        (b"\0\0\xfe\xff", ""),
        (b"\xff", "utf-8"),
        (b"\xed\xa0\xbd", ""),
        (b"\xe9", "us-ascii"),
        (b"\x81", "windows-1252"),
        (b"\xff\xfea", ""),
    ],
)
def test_what_is_no_text_of_its_charset_is_refused(body: bytes, charset: str) -> None:
    with pytest.raises(CharsetError, match=r"^expected ") as caught:
        charsets.decode(body, charset)
    assert "ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "charset", "found"),
    [
        (b"<a/>", "", "utf-8"),
        (b"<?xml version='1.0'?><a/>", "", "utf-8"),
        (b"<?xml version='1.0' encoding='windows-1252'?><a/>", "", "cp1252"),
        (b'<?xml version="1.0" encoding = "ISO-8859-2" standalone="no"?><a/>', "", "iso8859-2"),
        (b"<?xml version='1.0' encoding='utf-16'?><a/>", "utf-8", "utf-8"),
        ("<?xml version='1.0' encoding='utf-8'?><a/>".encode("utf-16"), "", "utf-16"),
        (b"<?xml-stylesheet encoding='klingon'?><a/>", "", "utf-8"),
        (b"<a>\n<?xml encoding='klingon'?></a>", "", "utf-8"),
    ],
)
def test_an_xml_declaration_counts_after_the_charset(body: bytes, charset: str, found: str) -> None:
    assert charsets.detect(body, charset, xml=True) == found


@pytest.mark.parametrize(
    ("body", "charset", "message"),
    [
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "", "got 'klingon'"),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", "utf-8", "got 'utf-7'"),
        (b"<?xml version='1.0' encoding='utf-8' encoding='utf-7'?><a/>", "", "got 'utf-7'"),
        ("<?xml version='1.0' encoding='klingon'?><a/>".encode("utf-16"), "", "got 'klingon'"),
        (b"<?xml version='1.0' encoding='utf-16'?><a/>", "", "declares UTF-16, without its mark"),
        ("<?xml version='1.0' encoding='cp037'?><a/>".encode("cp037"), "", "got EBCDIC"),
        (b"<?xml version='1.0'" + b" " * 600 + b"encoding='utf-7'?><a/>", "", "at most 512 bytes"),
        ("<a/>".encode("utf-16-le"), "", "UTF-16 without its mark"),
    ],
)
def test_what_xml_declares_has_to_be_on_the_list(body: bytes, charset: str, message: str) -> None:
    with pytest.raises(CharsetError, match=message):
        charsets.detect(body, charset, xml=True)


DECLARED = "<?xml version='1.0' encoding='latin1'?>"
BEGINNINGS = st.sampled_from(
    [b"\xff\xfe", b"\xfe\xff", b"\0", b"\xef\xbb\xbf", DECLARED.encode(), DECLARED.encode("utf-16"), b"<a>", b""]
)


@given(BEGINNINGS, st.binary(max_size=8), st.booleans(), st.sampled_from(["", "utf-8", "utf-16"]))
def test_what_is_found_does_not_change_once_enough_has_come(first: bytes, rest: bytes, xml: bool, charset: str) -> None:
    def found(body: bytes) -> str:
        try:
            return charsets.detect(body, charset, xml=xml)
        except CharsetError as error:
            return str(error)

    body = first + rest
    for at in range(len(body)):
        if not charsets.needs_more(body[:at], xml=xml):
            assert found(body[:at]) == found(body)


@pytest.mark.parametrize("sizes", [(), 1, 3])
def test_a_stream_has_all_of_its_chunks_behind_the_beginning(sizes: Any) -> None:
    async def hook(_: Any, chunks: Any, __: Any) -> Any:
        encoding, chunks = await charsets.detect_stream(chunks, "utf-16", xml=True)
        async for part in streams.text(chunks, encoding, "strict"):
            yield part.encode()

    text = "<?xml version='1.0' encoding='utf-8'?><a>é€</a>"
    result = testing.run_stream(hook, testing.stream(text.encode("utf-16"), sizes=sizes), ctx=testing.response())
    assert result.body == text.encode()
    assert testing.run_stream(hook, testing.stream(b""), ctx=testing.response()).body == b""


def test_a_stream_that_is_no_mark_waits_for_no_more_than_two_bytes() -> None:
    assert not charsets.needs_more(b":\n")
    assert charsets.needs_more(b":")
    assert not charsets.needs_more(b"<?xml" + b" " * 600, xml=True)
