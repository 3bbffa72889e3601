"""Where the API server is, and by what it knows the controller: a kubeconfig, or the files that a pod has."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, listed
from gatewright_documents.os_errors import os_reason
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import read_yaml

FIELD = "kubeconfig"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0
"""Between two looks at a token's file: the kubelet replaces it long before it ends."""
REFUSED = {
    "exec": "a command that prints credentials",
    "auth-provider": "an auth-provider",
    "username": "a user with a password",
    "as": "impersonation",
}
"""Fields of a kubeconfig's user that are not read, in words."""


class Token:
    """A bearer token: text, or a file that is read again as it is replaced."""

    def __init__(self, text: str = "", file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._text, self._file, self._clock = text, file, clock
        self._read_at = float("-inf")

    def current(self) -> str:
        """ "" where there is none. A file that cannot be read leaves the token that is known."""
        if self._file and self._clock() - self._read_at >= TOKEN_SECONDS:
            self.read_again()
        return self._text

    def read_again(self) -> bool:
        """Whether the file has another token than the one that is known."""
        if self._file is None:
            return False
        before, self._read_at = self._text, self._clock()
        try:
            self._text = self._file.read_text().strip() or before
        except OSError:
            return False
        return self._text != before


class ApiAccess(msgspec.Struct, frozen=True):
    """server: its URL. tls: None for http. tls_name: the name that its certificate has, "" for the URL's. namespace:
    that of the pod, or of the kubeconfig's context."""

    server: str
    tls: ssl.SSLContext | None
    token: Token = msgspec.field(default_factory=Token)
    namespace: str = "default"
    tls_name: str = ""


def open_access(kubeconfig: str, environment: Mapping[str, str] = os.environ) -> ApiAccess:
    """kubeconfig: a file; "" for the files of this pod. Raises `Invalid`."""
    return from_kubeconfig(Path(kubeconfig)) if kubeconfig else in_cluster(environment)


def in_cluster(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> ApiAccess:
    """By the service account of this pod. Raises `Invalid`."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        cure = "name a file with --kubeconfig, or run the controller in a pod"
        raise Invalid([Mistake.expecting("KUBERNETES_SERVICE_HOST in a pod", "none", cure, field=FIELD)])
    token = Token(file=folder / "token")
    if not token.current():
        cure = "set automountServiceAccountToken to true for the controller's pod"
        raise Invalid([Mistake.expecting(f"a token in {folder / 'token'}", "none", cure, field=FIELD)])
    tls = ssl.create_default_context(cadata=_pem(_read(folder / "ca.crt"), folder / "ca.crt"))
    shown_host = f"[{host}]" if ":" in host else host
    namespace = folder / "namespace"
    return ApiAccess(
        f"https://{shown_host}:{port}", tls, token, namespace.read_text().strip() if namespace.exists() else "default"
    )


def from_kubeconfig(file: Path) -> ApiAccess:
    """By the current context of the file. Raises `Invalid`."""
    document = _document(file)
    context_name = str(document.get("current-context") or "")
    context = _named(document, "contexts", "context", context_name, file)
    cluster = _named(document, "clusters", "cluster", str(context.get("cluster") or ""), file)
    user = _named(document, "users", "user", str(context["user"]), file) if context.get("user") else {}
    for name, words in REFUSED.items():
        if user.get(name):
            cure = "use a token, a token's file or a client certificate, or run the controller in a pod"
            raise _mistake(file, "a user with a token or a client certificate", words, cure)
    if cluster.get("proxy-url"):
        raise _mistake(file, "a server that is reached without a proxy", "proxy-url", "leave it out")
    server = str(cluster.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise _mistake(file, "an http(s) URL in server", repr(server), "name the API server")
    return ApiAccess(
        server.rstrip("/"),
        _tls(cluster, user, file) if server.startswith("https://") else None,
        _token(user, file),
        str(context.get("namespace") or "default"),
        str(cluster.get("tls-server-name") or ""),
    )


def _document(file: Path) -> JsonObject:
    try:
        document = read_yaml(_read(file))
    except Unreadable:
        raise _mistake(file, "YAML", "something else", "write it with kubectl config view --raw") from None
    if not isinstance(document, dict):
        raise _mistake(file, "a mapping", "something else", "write it with kubectl config view --raw")
    return document


def _named(document: JsonObject, plural: str, singular: str, name: str, file: Path) -> JsonObject:
    entries = [entry for entry in document.get(plural) or [] if isinstance(entry, dict)]
    for entry in entries:
        if entry.get("name") == name and isinstance(entry.get(singular), dict):
            found: JsonObject = entry[singular]
            return found
    known = listed([repr(entry.get("name")) for entry in entries]) if entries else "none"
    raise _mistake(file, f"a {singular} {name!r} among {plural}", known, "kubectl config use-context chooses one")


def _token(user: JsonObject, file: Path) -> Token:
    if named := user.get("tokenFile"):
        token = Token(file=file.parent / str(named))
        if not token.current():
            raise _mistake(file, f"a token in {named}", "none", "name a file that can be read")
        return token
    return Token(str(user.get("token") or ""))


def _tls(cluster: JsonObject, user: JsonObject, file: Path) -> ssl.SSLContext:
    authority = _content(cluster, "certificate-authority", file)
    tls = ssl.create_default_context(cadata=_pem(authority, file) if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    certificate, key = _content(user, "client-certificate", file), _content(user, "client-key", file)
    if certificate or key:
        _load_pair(tls, certificate + b"\n" + key, file)
    return tls


def _load_pair(tls: ssl.SSLContext, pem: bytes, file: Path) -> None:
    """Through a file that only this user can read, since OpenSSL takes nothing else."""
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(pem)
        pair.flush()
        try:
            tls.load_cert_chain(pair.name)
        except (ssl.SSLError, OSError) as error:
            raise _mistake(
                file, "a client certificate with its key", str(error), "take both from one authority"
            ) from None


def _content(entry: JsonObject, name: str, file: Path) -> bytes:
    """Of NAME-data, or of the file that NAME names, beside the kubeconfig; empty where there is neither."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error:
            raise _mistake(file, f"base64 in {name}-data", "something else", "take it from the cluster anew") from None
    return _read(file.parent / str(entry[name])) if entry.get(name) else b""


def _pem(content: bytes, file: Path) -> str:
    text = content.decode("ascii", "replace")
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise _mistake(file, "certificates of authorities in PEM", str(error), "take them from the cluster") from None
    return text


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _mistake(file, "a file that can be read", os_reason(error), "name another file") from None


def _mistake(file: Path, expected: str, got: str, cure: str) -> Invalid:
    return Invalid([Mistake.expecting(f"{expected} in {file}", got, cure, field=FIELD)])
