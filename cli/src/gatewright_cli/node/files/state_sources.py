"""The places of signed states that a node without one of its own starts from, and where it serves one to others."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatewright_controller.local import certificate_pair
from gatewright_controller.signed_state import place_mistake

from gatewright_cli.addresses import split_address

FILE = "state-from"
"""In the run directory: a place in each line. A URL may have a secret in it, and any process can read the arguments of
another one."""
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True)
class StateListen:
    """Where other nodes get the signed state by TLS. address: HOST:PORT; None: nowhere."""

    address: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def engine_options(self) -> dict[str, str]:
        """Those of the policy engine, which serves it."""
        if self.address is None or self.certificate is None or self.key is None:
            return {}
        pair = {"certificate": self.certificate, "key": self.key}
        named = {f"state-listen-{name}": str(file.absolute()) for name, file in pair.items()}
        return {"state-listen": self.address, **named}

    def mistakes(self, token: Path | None) -> Iterator[str]:
        """A sentence for each mistake of the options. token: of those who may ask."""
        if self.address is None:
            return
        try:
            split_address(self.address)
        except ValueError as error:
            yield f"--state-listen: {error}: name where other nodes get the state"
        if self.certificate is None or self.key is None:
            cure = "a state is served by TLS alone: name both"
            expected = "expected --state-listen-certificate and --state-listen-key beside it"
            yield f"--state-listen: {expected}, got none: {cure}"
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            pair = str(self.certificate), str(self.key)
            yield from (f"--state-listen: {sentence}" for sentence in certificate_pair.load_pair(context, *pair))
        if token is None:
            cure = "name the file of a token that the nodes share: a state has the parameters of all policies"
            yield f"--state-listen: expected --state-token-file beside it, got none: {cure}"


@dataclass(frozen=True)
class StateSources:
    """places: files and http(s) URLs, tried in order. authority: the public keys whose signature counts. oldest: in
    seconds; None for any age. token: for other nodes and controllers. tls_authority: who signs their certificates.
    listen: where this node serves a state itself, to those with the token.
    """

    places: tuple[str, ...] = ()
    authority: Path | None = None
    oldest: float | None = None
    token: Path | None = None
    tls_authority: Path | None = None
    listen: StateListen = StateListen()

    @property
    def lines(self) -> str:
        """The content of FILE, with absolute paths."""
        absolute = (place if "://" in place else str(Path(place).absolute()) for place in self.places)
        return "".join(f"{place}\n" for place in absolute)

    def engine_options(self, file: Path) -> dict[str, str]:
        """Those of the policy engine, which reads the states. file: FILE."""
        files = {"authority": self.authority, "token": self.token, "tls-authority": self.tls_authority}
        named = {f"state-{name}": str(path.absolute()) for name, path in files.items() if path}
        oldest = {} if self.oldest is None else {"state-oldest": f"{self.oldest:.3f}s"}
        places = {"state-from": str(file), **oldest} if self.places else {}
        listen = self.listen.engine_options
        return {**places, **named, **listen} if places or listen else {}

    def mistakes(self) -> Iterator[str]:
        """A sentence for each mistake of the options."""
        for place in self.places:
            if mistake := place_mistake(place):
                yield f"--state-from: {mistake}"
            elif "\n" in place:
                yield "--state-from: expected a file or an http(s) URL, got several lines"
        if self.places and self.authority is None:
            cure = "name the public key of the controller that signs states"
            yield f"--state-from: expected --state-authority beside it, got none: {cure}"
        yield from self.listen.mistakes(self.token)
        for option, file in (
            ("authority", self.authority),
            ("token-file", self.token),
            ("tls-authority", self.tls_authority),
        ):
            if file:
                yield from (f"--state-{option}: {sentence}" for sentence in certificate_pair.unreadable(str(file)))
        if self.authority and self.authority.is_file() and PUBLIC_KEY not in certificate_pair.text(str(self.authority)):
            cure = "`gatewright state key` makes a pair: name the public one"
            yield f"--state-authority: {self.authority}: expected a public key in PEM, got another content: {cure}"
