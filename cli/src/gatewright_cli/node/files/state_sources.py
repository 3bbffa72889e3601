"""The places of signed states that a node starts from where it has none of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatewright_controller.local import certificate_pair
from gatewright_controller.signed_state import place_mistake

FILE = "state-from"
"""In the run directory: a place in each line. A URL may have a secret in it, and any process can read the arguments of
another one."""
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True)
class StateSources:
    """places: files and http(s) URLs, tried in order. authority: the public keys whose signature counts. oldest: in
    seconds; None for any age. token: for other nodes and controllers. tls_authority: who signs their certificates.
    """

    places: tuple[str, ...] = ()
    authority: Path | None = None
    oldest: float | None = None
    token: Path | None = None
    tls_authority: Path | None = None

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
        return {"state-from": str(file), **named, **oldest} if self.places else {}

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
