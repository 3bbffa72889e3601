"""TLS of a run's own controller: its clients on this machine know it by its certificate itself.

They reach it at 127.0.0.1, which the certificate may not name, and they need no authority for it.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from gatewright_controller.local import certificate_pair
from gatewright_controller.local.certificate_pin import FIRST, Pin

from gatewright_cli.node.files.run_dir import RunDir, RunDirError

FILE = "controller-certificates.pem"
"""In the run directory: the certificates that the controller may have, for commands."""


class ControllerTls:
    """The files of the controller's certificate and key, and trust in each certificate that the file has had since the
    start: while a renewed one is not used yet, or cannot be used, the controller has an earlier one.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate, self.key = certificate, key
        self._pin = Pin()
        self._known: list[str] = []
        self._seen: tuple[int, ...] = ()
        self._run_dir: RunDir | None = None

    def keep_in(self, run_dir: RunDir) -> None:
        """Also writes the certificates into the run directory, from now on."""
        self._run_dir, self._seen = run_dir, ()
        self.trust()

    def trust(self) -> ssl.SSLContext:
        """A context for clients, always the same. A certificate that has come into the file is trusted by it."""
        try:
            status = self.certificate.stat()
            seen = status.st_mtime_ns, status.st_size, status.st_ino
            if seen != self._seen:
                self._add(certificate_pair.text(str(self.certificate)))
                self._seen = seen
        except (OSError, ValueError):  # it is being replaced, or cannot be used: the controller reports that
            pass
        return self._pin.context

    def _add(self, chain: str) -> None:
        certificate = self._pin.add(chain)
        if certificate not in self._known:
            self._known.append(certificate)
        if self._run_dir:
            self._run_dir.write(FILE, "".join(f"{known}\n" for known in self._known))


def mistakes(certificate: Path | None, key: Path | None) -> list[str]:
    """A sentence for each mistake of the options."""
    if certificate is None and key is None:
        return []
    if certificate is None or key is None:
        expected, beside = ("certificate", "key") if certificate is None else ("key", "certificate")
        return [
            f"expected --controller-tls-{expected} beside --controller-tls-{beside}, got none: "
            f"name it, or leave --controller-tls-{beside} out"
        ]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found = certificate_pair.load_pair(context, str(certificate), str(key))
    return [f"the controller's certificate: {sentence}" for sentence in found]


def read_trust(run_dir: Path) -> ssl.SSLContext:
    """For a command: trust in the certificates of the run's controller. Raises RunDirError."""
    pin = Pin()
    try:
        for certificate in (run_dir / FILE).read_text().split(FIRST)[1:]:
            pin.add(FIRST + certificate)
    except (OSError, ValueError) as error:
        raise RunDirError(f"expected the certificate of the run's controller in {run_dir / FILE}: {error}") from None
    return pin.context
