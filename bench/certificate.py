"""The certificate of servers under measurement."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.error import BenchError
from bench.processes import HOST


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 with a key of P-256."""

    chain: Path
    key: Path


def certificate_in(folder: Path) -> Certificate:
    """A new one, in files of the folder. Raises BenchError."""
    certificate = Certificate(folder / "own.pem", folder / "own.key")
    arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=bench"
    names = ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(certificate.key), "-out", str(certificate.chain)]
    result = subprocess.run(["openssl", *arguments.split(), *names], capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"expected openssl to make a certificate, got: {result.stderr}")
    return certificate
