from __future__ import annotations

import msgspec
import pytest
from gatewright_controller.oidc import Oidc
from gatewright_controller.oidc.claims import caller_of, name_of, texts_of
from gatewright_documents.values import JsonObject, JsonValue

VERIFIED = {"sub": "ada", "email": "ada@corp.example", "email_verified": True}


@pytest.mark.parametrize(
    ("claims", "claim", "texts"),
    [
        ({"groups": ["a", "b"]}, "groups", ["a", "b"]),
        ({"groups": "a b"}, "groups", ["a b"]),
        ({"groups": ["a", 1, None, ["b"]]}, "groups", ["a"]),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ["a"]),
        ({"https://id.example/roles": ["a"]}, "https://id.example/roles", ["a"]),
        ({"a.b": "whole", "a": {"b": "path"}}, "a.b", ["whole"]),
        ({"a": ["b"]}, "a.b", []),
        ({"a": {"b": {"c": 1}}}, "a.b", []),
        ({}, "groups", []),
        (VERIFIED, "email", ["ada@corp.example"]),
        ({**VERIFIED, "email_verified": False}, "email", []),
        ({"groups": True}, "groups", []),
    ],
)
def test_where_a_claim_is(claims: JsonObject, claim: str, texts: list[str]) -> None:
    assert texts_of(claims, claim) == texts


@pytest.mark.parametrize(
    ("more", "claim", "name"),
    [
        ({}, "email", "ada@corp.example"),
        ({"email_verified": False}, "email", "ada"),
        ({"email_verified": "true"}, "email", "ada"),
        ({"email": "a" * 256}, "email", "ada"),
        ({"email": "eve@corp.example\nada"}, "email", "ada"),
        ({"email": " ada@corp.example"}, "email", "ada"),
        ({"email": ["ada@corp.example"]}, "email", "ada"),
        ({"preferred_username": "Ada"}, "preferred_username", "Ada"),
        ({}, "preferred_username", "ada"),
        ({"user": {"name": "Ada L."}}, "user.name", "Ada L."),
    ],
)
def test_which_name_the_history_has(more: dict[str, JsonValue], claim: str, name: str) -> None:
    assert name_of({**VERIFIED, **more}, claim) == name


def test_a_role_by_an_address_needs_a_verified_one() -> None:
    grant = {"claim": "email", "value": "ada@corp.example", "role": "admin"}
    oidc = msgspec.convert({"issuer": "https://id.example", "audience": "gatewright", "grants": [grant]}, Oidc)
    assert [found.role for found in caller_of(VERIFIED, oidc).grants] == ["admin"]
    typed = caller_of({**VERIFIED, "email_verified": False}, oidc)
    assert (typed.grants, typed.lack) == ((), "no grant fits; looked at email (not verified)")
