"""A controller elsewhere, which a node joins over the network: its address, and files by which both know each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatewright_controller.local import certificate_pair

from gatewright_cli.addresses import split_address


@dataclass(frozen=True)
class JoinedController:
    """authority: who signs the controller's certificate. The node has a token, or a certificate with its key.
    gives_gateway: whether the node listens as the controller says, once that has answered.
    """

    address: str
    authority: Path | None = None
    token: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    gives_gateway: bool = False

    @property
    def engine_options(self) -> dict[str, str]:
        """Those of the policy engine, which keeps the stream."""
        files = {"authority": self.authority, "token": self.token, "certificate": self.certificate, "key": self.key}
        named = {f"controller-{name}": str(file.absolute()) for name, file in files.items() if file}
        return {"controller": self.address, **named}

    def mistakes(self) -> Iterator[str]:
        """A sentence for each mistake of the options."""
        try:
            split_address(self.address)
        except ValueError as error:
            yield f"--join: {error}: name where the controller has nodes connect"
        if self.authority is None:
            cure = "name the file of who signs the controller's certificate"
            yield f"--join: expected --join-authority beside it, got none: {cure}"
        if (self.certificate is None) != (self.key is None):
            yield "--join: expected --join-certificate and --join-key, got one of them: name the other too"
        elif self.token is None and self.certificate is None:
            cure = "create a token at the controller: gatewright token create NAME --role node"
            yield f"--join: expected --join-token-file, or --join-certificate and --join-key, got none of them: {cure}"
        for option, file in (("authority", self.authority), ("certificate", self.certificate), ("key", self.key)):
            if file:
                yield from (f"--join-{option}: {sentence}" for sentence in certificate_pair.unreadable(str(file)))
        if self.token:
            yield from (f"--join-token-file: {sentence}" for sentence in certificate_pair.unreadable(str(self.token)))
