from __future__ import annotations

import pytest
from gatewright_builder.mistake import BuildError
from gatewright_builder.redaction import redacted
from gatewright_documents.mistake import Mistake


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://robot:pass@example.com/simple", "https://****@example.com/simple"),
        ("--index-url https://t0ken@host/ and http://a:b@c", "--index-url https://****@host/ and http://****@c"),
        ("https://example.com/@scope/name", "https://example.com/@scope/name"),
        ("github.com/org/repo@v1", "github.com/org/repo@v1"),
        ("the index said hunter22 and t0psecret", "the index said **** and ****"),
    ],
)
def test_addresses_and_the_environments_secrets_are_hidden(text: str, shown: str) -> None:
    environment = {"UV_INDEX_URL": "https://robot:hunter22@host/simple", "GITHUB_TOKEN": "t0psecret", "X_TOKEN": "is"}
    assert redacted(text, environment) == shown


def test_of_a_secret_that_begins_as_another_nothing_is_shown() -> None:
    assert (
        redacted("it said hunter22-and-more", {"A_TOKEN": "hunter22", "B_TOKEN": "hunter22-and-more"}) == "it said ****"
    )


def test_every_mistake_goes_through_it() -> None:
    mistake = Mistake.in_file("requirements.txt", "a requirement", "x @ https://robot:pass@host/x.whl", "write none")
    assert "robot" not in str(BuildError([mistake]))
    assert "robot" not in BuildError([mistake]).mistakes[0].got
