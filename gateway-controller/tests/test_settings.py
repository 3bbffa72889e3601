from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from gatewright_controller.mistake import Invalid
from gatewright_controller.settings import Settings, load_settings, reference


def test_options_go_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("{listen: 'a:1', nodeListen: 'a:1', database: 'sqlite:a', systemParameters: {guard: {issuer: x}}}")
    environment = {
        "GATEWRIGHT_CONTROLLER_NODE_LISTEN": "b:2",
        "GATEWRIGHT_CONTROLLER_DATABASE": "sqlite:b",
        "GATEWRIGHT_CONTROLLER_MAX_REQUEST_BYTES": "2048",
        "GATEWRIGHT_CONTROLLER_TOKEN": "12345",
        "GATEWRIGHT_CONTROLLER_PORT": "tcp://10.0.0.1:80",
    }
    settings = load_settings(file, environment, {"database": "sqlite:c"})
    assert (settings.listen, settings.node_listen, settings.database) == ("a:1", "b:2", "sqlite:c")
    assert (settings.max_request_bytes, settings.token) == (2048, "12345")
    assert settings.system_parameters == {"guard": {"issuer": "x"}}


def test_system_parameters_can_come_from_the_environment() -> None:
    settings = load_settings(None, {"GATEWRIGHT_CONTROLLER_SYSTEM_PARAMETERS": "{guard: {issuer: y}}"}, {})
    assert settings.system_parameters == {"guard": {"issuer": "y"}}


def test_all_mistakes_of_a_file_are_told(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("{lisen: 'a:1', maxRequestBytes: 3, requestTimeout: 1h}")
    with pytest.raises(Invalid) as caught:
        load_settings(file, {}, {})
    told = [str(mistake) for mistake in caught.value.mistakes]
    assert told[0].startswith("lisen: is unknown; known are connectTimeout, database")
    assert told[1:] == [
        "maxRequestBytes: expected at least 1024, got 3",
        "requestTimeout: expected a whole number of ms or s, such as '200ms' or '1s', got '1h'",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"), [(None, "expected a settings file"), ("[", "expected a YAML document"), ("- a", "a mapping")]
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    file = tmp_path / "settings.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Invalid, match=sentence):
        load_settings(file, {}, {})


def test_the_reference_is_a_settings_file_of_all_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(reference())
    assert load_settings(file, {}, {}) == Settings()
    assert set(yaml.safe_load(reference())) == {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert reference().count("# Environment: GATEWRIGHT_CONTROLLER_") == len(msgspec.structs.fields(Settings))
