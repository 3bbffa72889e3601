"""The client's path in the access log: RE2, as Envoy has it, takes out the values of secret parameters, and no more."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import re2
from gatewright_controller.model import Redaction, RedactionDefaults
from gatewright_controller.translate.envoy.secret_parameters import SUBSTITUTION, has_secret, secret_parameters
from hypothesis import given
from hypothesis import strategies as st

REDACTION = Redaction(query_parameters=["voucher", "x-partner-*"])
"""Beside the defaults."""
PATTERN = re2.compile(secret_parameters(REDACTION))
HAS = re2.compile(has_secret(REDACTION)["safe_regex"]["regex"])
SECRET = "hunter2"  # noqa: S105 - planted


def shown(path: str) -> str:
    made: str = PATTERN.sub(SUBSTITUTION, path)
    assert bool(HAS.fullmatch(path)) == (made != path), "expected both loggers to share all paths"
    return made


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/token=1", "/a/token=1"),
        ("/a?page=2&tokens=3&atoken=4&key2=5&q=token%3D6", "/a?page=2&tokens=3&atoken=4&key2=5&q=token%3D6"),
        ("/a?token=1&b=2", "/a?token=~&b=2"),
        ("/a?b=2&ACCESS-Token=1;apikey=3;api_key=4", "/a?b=2&ACCESS-Token=~;apikey=~;api_key=~"),
        ("/a?voucher=&x-partner-id=3&x_partner_=4", "/a?voucher=~&x-partner-id=~&x_partner_=~"),
        ("/a?%74oken=1&p%61ge=2", "/a?%74oken=~&p%61ge=~"),
        ("/a?user[token]=1&user%5Btoken%5D=2&token[]=3", "/a?user[token]=~&user%5Btoken%5D=~&token[]=~"),
        ("/a?filter%5Bname%5D=1&a.b=2", "/a?filter%5Bname%5D=1&a.b=2"),
        ("/a?password1=x&PasswordHash=y", "/a?password1=~&PasswordHash=~"),
        ("/a?next=eyJhbGciOiJIUzI1NiJ9.e30.c2ln&b=1", "/a?next=~&b=1"),
        ("/a?token", "/a?token"),
        ("/a?token==1=2", "/a?token=~"),
    ],
)  # fmt: skip
def test_paths(path: str, expected: str) -> None:
    assert shown(path) == expected.replace("~", "[redacted]")


NAMES = st.sampled_from(
    ["token", "access_token", "AccessToken", "api-key", "code", "voucher", "x-partner-7", "client_secret"]
)


@given(
    name=NAMES,
    encoded=st.sets(st.integers(0, 12)),
    before=st.text(st.sampled_from("ab=&;%5[].é?"), max_size=12),
    after=st.text(st.sampled_from("ab=&;%5[].é?"), max_size=12),
)
def test_no_spelling_of_a_name_shows_its_value(name: str, encoded: set[int], before: str, after: str) -> None:
    spelled = "".join(f"%{ord(letter):02x}" if at in encoded else letter for at, letter in enumerate(name))
    assert SECRET not in shown(f"/a?{quote(before, '=&;%[].?')}&{spelled}={SECRET}&{quote(after, '=&;%[].?')}")


@given(st.lists(st.tuples(st.sampled_from(["page", "q", "sort", "tokens", "a[b]"]), st.text(max_size=8)), max_size=5))
def test_what_is_no_secret_stays(pairs: list[tuple[str, str]]) -> None:
    path = "/a?" + "&".join(f"{name}={quote(value)}" for name, value in pairs)
    assert shown(path) == path


def test_a_list_may_be_empty() -> None:
    pattern = re2.compile(secret_parameters(Redaction(defaults=RedactionDefaults(query_parameters=[]))))
    assert pattern.sub(SUBSTITUTION, "/a?token=1&%74oken=2") == "/a?token=1&%74oken=[redacted]"
