"""The environment variables of each program that a build starts: lists of names, so that a secret that
no list names is in none of them.

Tokens of the operator (GITHUB_TOKEN, those of a cloud or of a CI) are in none of them: the builder's own download of a
repository reads its token itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

LOADER = ("LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES")
"""Where Python or a package needs them to start, as executors do."""
PLAIN = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", *LOADER)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
NETWORK = (*CERTIFICATES, *PROXIES, *(name.lower() for name in PROXIES), "NETRC")
FOLDERS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
COMPILER = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "PKG_CONFIG_PATH", "SOURCE_DATE_EPOCH")
"""What a package that is built from its sources may need."""
VERSION_CONTROL = ("SSH_AUTH_SOCK",)
"""How Go's version control asks a private repository. It has no code of the repository run."""
PUBLISHERS = ("UV_PUBLISH_", "UV_GITHUB_TOKEN")
"""Of uv's own variables those that a build has no use for: prefixes."""
GIT = ("GIT_SSH", "GIT_SSL", "GIT_ASKPASS", "GIT_TERMINAL_PROMPT", "GIT_CONFIG")
"""How git asks: prefixes."""
GO = re.compile(r"GO[A-Z0-9]+")
"""Go's settings. GOOGLE_… is not among them."""
BUILDERS = ("GATEWRIGHT_GITHUB_", "GATEWRIGHT_CACHE_DIR", "GATEWRIGHT_RECORDS_DIR", "GITHUB_TOKEN")
"""What the builder itself reads: prefixes."""

Environment = Mapping[str, str]


def for_imports(folder: str, environment: Environment = os.environ) -> dict[str, str]:
    """For the import of policies. folder: the only one that they may write to."""
    return _named(environment, PLAIN) | {"TMPDIR": folder}


def for_python(environment: Environment = os.environ) -> dict[str, str]:
    """For Python that runs no code of policies or packages."""
    return _named(environment, PLAIN)


def for_uv(environment: Environment = os.environ) -> dict[str, str]:
    """For uv, which hands it on to what builds a source distribution; indexes and their credentials are UV_…."""
    own = {name: value for name, value in _prefixed(environment, ("UV_",)).items() if not name.startswith(PUBLISHERS)}
    return _named(environment, (*PLAIN, *NETWORK, *FOLDERS, *COMPILER)) | own


def for_go(environment: Environment = os.environ) -> dict[str, str]:
    """For go and the version control that it calls, without Go's own settings."""
    return _named(environment, (*PLAIN, *NETWORK, *FOLDERS, *VERSION_CONTROL)) | _prefixed(environment, GIT)


def go_settings(environment: Environment = os.environ) -> dict[str, str]:
    """Go's own settings, as far as the environment has them."""
    return {name: value for name, value in environment.items() if GO.fullmatch(name)}


def for_builder(environment: Environment = os.environ) -> dict[str, str]:
    """For a process that does nothing but build."""
    own = _prefixed(environment, BUILDERS)
    return for_uv(environment) | for_go(environment) | go_settings(environment) | own


def _named(environment: Environment, names: tuple[str, ...]) -> dict[str, str]:
    return {name: environment[name] for name in names if name in environment}


def _prefixed(environment: Environment, prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(prefixes)}
