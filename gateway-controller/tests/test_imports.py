"""What a start of the controller does not import: each module costs time and memory."""

from __future__ import annotations

import subprocess
import sys


def test_without_a_certificate_nothing_of_tls_is_imported() -> None:
    program = (
        "import sys\nfrom gatewright_controller import server\nfrom starlette.applications import Starlette\n"
        "server.management_server(Starlette())\n"
        "print(*(name for name in sys.modules if name.rpartition('.')[2] in "
        "('listener_tls', 'certificate_pair', 'certificate_pin', 'handshakes', 'cryptography')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_start_without_an_openid_provider_imports_nothing_for_it() -> None:
    code = "import sys, gatewright_controller.server; print(*{'jwt', 'httpx', 'cryptography'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_controller_that_is_none_of_kubernetes_imports_nothing_for_it() -> None:
    code = (
        "import sys, gatewright_controller.server\n"
        "print(*(name for name in sys.modules if name.startswith(("
        "'gatewright_controller.kubernetes', 'gatewright_controller.gateway_api', 'httpx'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
