"""How the API server is reached: a kubeconfig's fields, a pod's files, and tokens that are replaced."""

from __future__ import annotations

import base64
import copy
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatewright_controller.kubernetes.api_access import TOKEN_SECONDS, Token, from_kubeconfig, in_cluster
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

from e2e.kit.certificates import Authority, authority


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def config(signer: Authority) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [
            {"name": "other", "context": {"cluster": "gone", "user": "gone"}},
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "edge"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://api:6443/", "certificate-authority": str(signer.file)}}
        ],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }


def written(config: JsonObject, folder: Path) -> Path:
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def test_the_current_context_counts(config: JsonObject, tmp_path: Path) -> None:
    access = from_kubeconfig(written(config, tmp_path))
    assert (access.server, access.namespace, access.token.current()) == ("https://api:6443", "edge", "secret")
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert len(access.tls.get_ca_certs()) == 1


def test_a_client_certificate_is_a_file_or_is_in_it(config: JsonObject, signer: Authority, tmp_path: Path) -> None:
    certificate, key = signer.issue("client")
    user = {"client-certificate": certificate.name, "client-key-data": base64.b64encode(key.read_bytes()).decode()}
    config["users"][0]["user"] = user
    config["clusters"][0]["cluster"] |= {"tls-server-name": "kubernetes"}
    access = from_kubeconfig(written(config, tmp_path))
    assert access.token.current() == ""
    assert access.tls_name == "kubernetes"


WRONG: list[tuple[str, Any, str]] = [
    ("users", {"exec": {"command": "aws"}}, "got a command that prints credentials; use a token"),
    ("users", {"username": "a", "password": "b"}, "got a user with a password"),
    ("users", {"client-certificate-data": "%%"}, "expected base64 in client-certificate-data in"),
    ("users", {"client-certificate": "gone.pem"}, "expected a file that can be read in"),
    ("users", {"client-key-data": base64.b64encode(b"x").decode()}, "expected a client certificate with its key in"),
    ("clusters", {"server": "api:6443"}, "expected an http(s) URL in server in"),
    ("clusters", {"server": "https://a", "proxy-url": "http://p"}, "expected a server that is reached without a proxy"),
    ("clusters", {"server": "https://a", "certificate-authority-data": "eA=="}, "expected certificates of authorities"),
]


@pytest.mark.parametrize(("part", "value", "sentence"), WRONG, ids=[sentence for _, _, sentence in WRONG])
def test_what_is_not_read_is_refused_with_the_cure(
    part: str, value: Any, sentence: str, config: JsonObject, tmp_path: Path
) -> None:
    wrong = copy.deepcopy(config)
    wrong[part][0][part.removesuffix("s")] = value
    with pytest.raises(Invalid) as refused:
        from_kubeconfig(written(wrong, tmp_path))
    assert sentence in str(refused.value)


def test_a_context_that_is_not_there_is_refused_with_those_that_are(config: JsonObject, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"a context 'away' among contexts in .*, got 'other' or 'here'"):
        from_kubeconfig(written({**config, "current-context": "away"}, tmp_path))


def test_in_a_pod_its_files_say_it(signer: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "account"
    folder.mkdir()
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(Invalid, match="set automountServiceAccountToken to true"):
        in_cluster(environment, folder)
    for name, text in (("token", "t1\n"), ("ca.crt", signer.file.read_text()), ("namespace", "edge\n")):
        (folder / name).write_text(text)
    access = in_cluster(environment, folder)
    assert (access.server, access.namespace, access.token.current()) == ("https://[fd00::1]:443", "edge", "t1")
    with pytest.raises(Invalid, match="name a file with --kubeconfig, or run the controller in a pod"):
        in_cluster({}, folder)


def test_a_token_is_read_again_as_it_is_replaced(tmp_path: Path) -> None:
    now, file = [100.0], tmp_path / "token"
    file.write_text("t1\n")
    token = Token(file=file, clock=lambda: now[0])
    assert token.current() == "t1"
    file.write_text("t2\n")
    assert token.current() == "t1"
    now[0] += TOKEN_SECONDS
    assert token.current() == "t2"
    file.unlink()
    now[0] += TOKEN_SECONDS
    assert token.current() == "t2"
    file.write_text("t3")
    assert token.read_again()
    assert not token.read_again()
