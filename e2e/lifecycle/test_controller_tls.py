"""A run whose controller speaks TLS, with a certificate that does not name this machine: all of the run reaches it."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from e2e.kit.certificates import authority
from e2e.kit.gateway import Gateway, api, attach, credentials, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


def gatewright(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["gatewright", *words, "--run-dir", str(gateway.run_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_run_reaches_its_controller_by_tls(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    signer = authority(tmp_path)
    certificate, key = signer.issue("controller", "gateway.example")
    file, another = tmp_path / "filed.json", tmp_path / "another.json"
    file.write_text(json.dumps(api("filed", upstream.url, [attach("mark", {"name": "filed"})])))
    another.write_text(json.dumps(api("another", upstream.url)))
    tls = "--controller-tls-certificate", str(certificate), "--controller-tls-key", str(key)
    with running(build, tmp_path / "state", "--apis", str(file), *tls) as gateway:
        assert httpx.get(f"{gateway.url}/filed/x").status_code == 200
        address = gateway.process_status("controller")["listen"]
        url = f"https://{address}"
        gateway.wait_printed(f"management API {url}, token in ")
        gateway.wait_printed(f"Inspector {url}/ ")
        assert f'href="{url}/#token=' in (gateway.run_dir / "inspector.html").read_text()
        assert httpx.get(f"http://{address}/healthz").status_code == 400
        reached = ssl.create_default_context(cafile=signer.file)
        with httpx.Client(verify=reached, headers=credentials(gateway.run_dir)) as client:
            extensions = {"sni_hostname": "gateway.example"}
            assert client.get(f"{url}/v1/policies", extensions=extensions).status_code == 200

        assert gatewright(gateway, "apply", "-f", str(another)).returncode == 0
        assert gatewright(gateway, "get", "apis", "-o", "name").stdout == "another\nfiled\n"
        assert gatewright(gateway, "reload").returncode == 0
        assert gatewright(gateway, "inspector").stdout.startswith(f"{url}/#token=")
        status = gatewright(gateway, "status", "--json")
        assert (status.returncode, json.loads(status.stdout)["controller"]) == (0, url), status.stdout
        assert json.loads(status.stdout)["inspector"] == f"{url}/"
        assert gateway.process_status("controller")["restarts"] == 0
