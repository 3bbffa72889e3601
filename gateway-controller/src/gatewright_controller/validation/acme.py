"""Where a Gateway's certificates come from: files, or an authority that is asked by ACME."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

from gatewright_documents.mistake import Mistake, format_path, shown

from gatewright_controller.resource.hosts import covers_host, is_address
from gatewright_controller.validation.gateway_draft import Draft, DraftListener
from gatewright_controller.validation.values import as_object, texts_of

FILES = ("certificateFile", "keyFile")
LIBRARY = "josepy"
"""A package that comes with acme, and whose name nothing else has."""


def check_certificates(draft: Draft) -> Iterator[Mistake]:
    """Each has both files, or acme whose challenges can be answered."""
    for name, raw in draft.certificates.items():
        certificate, field = as_object(raw), format_path(["spec", "certificates", name])
        missing = [file for file in FILES if file not in certificate]
        if "acme" not in certificate:
            for file in missing:
                yield Mistake.expecting("the absolute path of a file on the node", "nothing", field=f"{field}.{file}")
            continue
        if len(missing) < len(FILES):
            cure = "remove one of the two"
            yield Mistake.expecting("acme or files", "both", cure, field=field)
        yield from _check_acme(f"{field}.acme", as_object(certificate["acme"]), draft.listeners)


def _check_acme(field: str, acme: dict[str, object], listeners: Sequence[DraftListener]) -> Iterator[Mistake]:
    if importlib.util.find_spec(LIBRARY) is None:
        cure = "install it: pip install 'gatewright[acme]'"
        yield Mistake.expecting("the packages that speak ACME", "none", cure, field=field)
    if acme.get("termsOfServiceAgreed") is False:
        cure = "read the terms of the directory's authority, and write true, or name a certificate's files instead"
        yield Mistake.expecting("true", "false", cure, field=f"{field}.termsOfServiceAgreed")
    hosts = texts_of(acme.get("hosts"))
    for at, host in enumerate(hosts):
        yield from _check_host(f"{field}.hosts[{at}]", host, hosts[:at], listeners)


def _check_host(field: str, host: str, before: Sequence[str], listeners: Sequence[DraftListener]) -> Iterator[Mistake]:
    if host in before:
        yield Mistake.expecting("each once", f"{shown(host)} twice", "remove one of the two", field=field)
    if host.startswith("*."):
        cure = "name each host, or obtain the certificate by other means and name its files"
        yield Mistake.expecting("a host, for http-01 cannot prove a wildcard", shown(host), cure, field=field)
    elif is_address(host):
        yield Mistake.expecting("the name of a host", f"the address {host}", "name the host", field=field)
    elif listeners and not any(
        _answers(listener, host) for listener in listeners
    ):  # without any there is one, in clear
        expected = f"a listener with protocol: http that serves {host}, where the authority asks for it"
        cure = "add {name: http, address: 0.0.0.0, port: 80, redirect: {}} to spec.listeners, or the host to a listener"
        yield Mistake.expecting(expected, "none", cure, field=field)


def _answers(listener: DraftListener, host: str) -> bool:
    """Over http in clear, and for that host."""
    patterns = texts_of(listener.raw.get("hosts"))
    served = not patterns or any(covers_host(pattern, host) for pattern in patterns)
    return listener.text("protocol", "http") == "http" and served
