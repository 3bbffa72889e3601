"""The variables of `gatewright run`'s own environment that each process of a node gets. Others stay in the supervisor.

Policies run in executors and in the engine, and the environment of a process can be read from outside for as long as
it lives (proc(5), /proc/PID/environ). So each kind of process gets the variables of a list, and no others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gatewright_cli.supervision.specs import Inherits, ProcessSpec

OURS = "GATEWRIGHT_"
"""Prefix of the product's own variables: tokens, operators' parameters."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
EVERY = Inherits(
    names=frozenset(
        {
            *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "TZDIR", "LANG", "LANGUAGE"),
            *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"),
            *PROXIES,
            *map(str.lower, PROXIES),
            *("RES_OPTIONS", "LOCALDOMAIN", "HOSTALIASES"),  # resolver(5)
            *("LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"),  # if Python or an allocator needs them to start
        }
    ),
    prefixes=("LC_", "MALLOC_"),
)
"""Paths, language, certificates, proxies (with the credentials in their URLs), resolver, loader."""
PYTHON = frozenset(
    f"PYTHON{name}"
    for name in (
        *("ASYNCIODEBUG", "COERCECLOCALE", "DEVMODE", "DONTWRITEBYTECODE", "FAULTHANDLER", "HASHSEED", "IOENCODING"),
        *("INTMAXSTRDIGITS", "MALLOC", "NODEBUGRANGES", "NOUSERSITE", "OPTIMIZE", "PERFSUPPORT", "PYCACHEPREFIX"),
        *("SAFEPATH", "TRACEMALLOC", "UTF8", "WARNINGS", "_CPU_COUNT", "_GIL", "_JIT"),
    )
)
"""Variables that tune an interpreter. Those that lead it to other code (PYTHONPATH, PYTHONSTARTUP, PYTHONHOME) are not
among them: an executor runs what its lock file has."""
OWN_PYTHON = PYTHON | {"PYTHONPATH", "PYTHONUSERBASE"}
"""For processes of the supervisor's own interpreter, which find their modules as it does."""
GO = frozenset({"GOGC", "GOMEMLIMIT", "GODEBUG", "GOMAXPROCS", "GOTRACEBACK"})

CONTROLLER = replace(EVERY, names=EVERY.names | OWN_PYTHON, prefixes=(*EVERY.prefixes, "GATEWRIGHT_CONTROLLER_", "PG"))
"""With libpq's own (PGPASSFILE, PGSSLROOTCERT): its database may be a PostgreSQL."""
ECHO = replace(EVERY, names=EVERY.names | OWN_PYTHON)
ENVOY = EVERY


def executor(passed: Iterable[str]) -> Inherits:
    """The variables of an executor. passed: names that the operator passes to policies."""
    return replace(EVERY, names=EVERY.names | PYTHON | {*passed})


def engine(passed: Iterable[str]) -> Inherits:
    """The variables of the engine. passed: names that the operator passes to policies."""
    return replace(EVERY, names=EVERY.names | GO | {*passed})


def passed_mistakes(names: Iterable[str], own: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A sentence for each wrong name of `--pass-env`."""
    for name in names:
        if not name or "=" in name:
            yield f"--pass-env: expected the name of a variable, got {name!r}: its value is taken from the environment"
        elif name.startswith(OURS):
            yield f"--pass-env: expected a variable that policies may read, got {name}: it is the gateway's own"
        elif name not in own:
            yield f"--pass-env: expected a variable that is set, got {name}: export it, or leave the option out"


def withheld(specs: Iterable[ProcessSpec], own: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names of the supervisor's variables that none of these processes gets, sorted."""
    lists = [spec.inherits for spec in specs]
    return tuple(sorted(name for name in own if not any(inherits.has(name) for inherits in lists)))
