"""docs/tutorial/tls-in-production.md step by step: its files, its commands in one shell, and their shown outputs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.docs.shell_pages import script, stop
from e2e.kit.listening import free_port
from e2e.kit.markdown import page
from e2e.kit.places import ROOT

PAGE = "docs/tutorial/tls-in-production.md"
READY = (
    "gatewright run --controller-port 0 > run.log 2>&1 & echo $! > run.pid\n"
    "until grep -q '^ready' run.log; do sleep 0.1; kill -0 $(cat run.pid); done"
)
STATUS = "$(gatewright status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"%s\"])')"
pytestmark = pytest.mark.timeout(180)


def on_this_machine(text: str, folder: Path) -> str:
    """The script with free ports, and with a folder of the test in place of /etc/gateway."""
    assert text.count("\ngatewright run\n") == 1
    ports = {port: str(free_port()) for port in ("80", "443", "9001", "9002")}
    text = text.replace("\ngatewright run\n", f"\n{READY}\n").replace("/etc/gateway", str(folder))
    text = text.replace("redirect: {}", f"redirect: {{port: {ports['443']}}}")
    text = text.replace("http://127.0.0.1:9090", STATUS % "controller").replace(
        "RUN/management-token", STATUS % "tokenFile"
    )
    text = re.sub(r"(https://(?:shop|other)\.example\.com)", rf"\1:{ports['443']}", text)
    text = re.sub(r"(http://shop\.example\.com)", rf"\1:{ports['80']}", text)
    return re.sub(
        r"(port: |example\.com:|connect 127\.0\.0\.1:|http://127\.0\.0\.1:|http\.server )(80|443|9001|9002)\b",
        lambda match: match[1] + ports[match[2]],
        text,
    )


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The output of each block of commands."""
    if missing := [program for program in ("curl", "openssl") if not shutil.which(program)]:
        pytest.skip(f"NOT TESTED: {' and '.join(missing)} is not on this machine")
    place = tmp_path_factory.mktemp("tutorial")
    with tempfile.TemporaryDirectory(prefix="gw-") as runtime:
        file = place / "page.sh"
        file.write_text(on_this_machine(script(page(PAGE)), place / "etc"))
        environment = {**os.environ, "XDG_RUNTIME_DIR": runtime}
        try:
            result = subprocess.run(
                ["bash", str(file)],
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=150,
            )
        finally:
            stop(place / "gateway")
        log = place / "gateway" / "run.log"
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}\n{log.read_text() if log.exists() else ''}"
        parts = re.split(r"^## (.*)\n", result.stdout, flags=re.MULTILINE)
        yield dict(zip(parts[1::2], parts[2::2], strict=True))


def test_strict_clients_accept_its_certificates(tmp_path: Path) -> None:
    """As those of Python 3.13 and later are, which ask an authority for its key usage (RFC 5280, 4.2.1.3)."""
    if not shutil.which("openssl"):
        pytest.skip("NOT TESTED: openssl is not on this machine")
    section = page(PAGE).partition("\n## A certificate\n")[2].partition("\n## ")[0]
    commands = script(f"\n## A certificate\n{section}").replace("/etc/gateway", "etc")
    verify = "openssl verify -x509_strict -purpose sslserver -CAfile ca/ca.pem etc/tls/shop.example.com.pem"
    result = subprocess.run(
        ["bash", "-c", f"{commands}\n{verify}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("etc/tls/shop.example.com.pem: OK\n")


def test_https_is_served_and_http_redirects_to_it(outputs: dict[str, str]) -> None:
    served, redirected = outputs["Start 2"].rstrip().splitlines()
    assert served in {"from one", "from two"}
    assert re.fullmatch(r"308 https://shop\.example\.com(:\d+)?/api/cart", redirected)
    assert outputs["Start 3"] == "refused\n"


def test_a_certificate_is_renewed(outputs: dict[str, str]) -> None:
    before, after = outputs["A certificate is renewed 1"].splitlines()
    assert before.startswith("serial=")
    assert before != after


def test_a_target_fails_and_no_request_does(outputs: dict[str, str]) -> None:
    assert outputs["A target fails 1"] == "from two\n" * 6


def test_a_client_with_a_certificate_is_answered(outputs: dict[str, str]) -> None:
    assert re.fullmatch(r"(.*\n)*from (one|two)\nrefused\n", outputs["Clients with certificates 1"]), outputs[
        "Clients with certificates 1"
    ]


def test_status_and_metrics_show_the_certificate(outputs: dict[str, str]) -> None:
    assert "shop" in outputs["What to look at 1"]
    assert '"deployed"' in outputs["What to look at 1"]


def test_the_navigation_has_the_page() -> None:
    for name in ("README.md", "docs/README.md", "mkdocs.yml"):
        assert Path(PAGE).name in (ROOT / name).read_text()
