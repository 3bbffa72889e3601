"""Trust in certificates themselves: a client on this machine knows a server by the certificate in the server's file."""

from __future__ import annotations

import ssl

FIRST = "-----BEGIN CERTIFICATE-----"
LAST = "-----END CERTIFICATE-----"
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python's ssl has no name for."""


class Pin:
    """context: for a client that trusts the added certificates, and no others.

    Neither names nor dates count, since the certificate itself is known: the server is reached at an address of this
    machine, which the certificate need not name.
    """

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME

    def add(self, chain: str) -> str:
        """Trusts the first certificate of a PEM text: the others are of authorities, which sign for many servers.
        Returns its own text. Raises ValueError (ssl.SSLError is no other) where there is none.
        """
        start = chain.index(FIRST)
        certificate = chain[start : chain.index(LAST, start) + len(LAST)]
        self.context.load_verify_locations(cadata=certificate)
        return certificate
