from __future__ import annotations

from pathlib import Path

import pytest
from gatewright.definition import Runtime, definition_digest
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy_definition import read_definition

TEXT = b"name: sample\nversion: v1.0.0\nruntime: go\nprocessingMode: &modes\n  requestHeaderMode: PROCESS\n"


def test_a_definition_is_its_fields_its_text_and_its_digest(tmp_path: Path) -> None:
    (tmp_path / "policy-definition.yaml").write_bytes(TEXT)
    definition = read_definition(tmp_path, "sample")
    assert (definition.fields.name, definition.fields.runtime) == ("sample", Runtime.GO)
    assert definition.text == TEXT
    assert definition.digest == definition_digest(definition.content)
    assert definition.content["processingMode"] == {"requestHeaderMode": "PROCESS"}
    assert definition.document.line("processingMode", "requestHeaderMode") == 5


def test_a_folder_without_a_definition_and_a_missing_folder_have_different_messages(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^a/policy-definition\.yaml: expected a policy's definition, got no such"):
        read_definition(tmp_path, "a")
    with pytest.raises(BuildError, match=r"^a: expected a policy's folder, got no such folder; correct filePath"):
        read_definition(tmp_path / "a", "a")


def test_what_looks_like_a_password_is_in_no_message(tmp_path: Path) -> None:
    secret = f"https://user:{'hunter22' * 20}@host/"
    (tmp_path / "policy-definition.yaml").write_bytes(TEXT.replace(b"sample", secret.encode()))
    with pytest.raises(BuildError) as caught:
        read_definition(tmp_path, "sample")
    assert "hunter" not in str(caught.value)
    assert "name: expected a policy name" in str(caught.value)
    assert "got 'https://****@host/'" in str(caught.value)
