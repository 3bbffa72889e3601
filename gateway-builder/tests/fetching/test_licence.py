from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.fetching.licence import licence_of_folder, licence_of_package


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("policy.py", "# SPDX-License-Identifier: MIT\n", "MIT"),
        ("policy.go", "/* SPDX-License-Identifier: Apache-2.0 OR MIT */\r\n", "Apache-2.0 OR MIT"),
        ("LICENSE", "SPDX-License-Identifier: BSD-3-Clause", "BSD-3-Clause"),
        ("image.png", "SPDX-License-Identifier: MIT", ""),
        ("policy.py", "SPDX-License-Identifier:\nMIT", ""),
    ],
)
def test_a_folder_says_its_licence_in_its_files(tmp_path: Path, name: str, text: str, licence: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert licence_of_folder(tmp_path) == licence


def test_only_files_right_inside_count_the_first_of_them(tmp_path: Path) -> None:
    (tmp_path / "vendored").mkdir()
    (tmp_path / "vendored" / "a.py").write_text("# SPDX-License-Identifier: GPL-3.0\n")
    assert licence_of_folder(tmp_path) == ""
    (tmp_path / "b.py").write_text("# SPDX-License-Identifier: MIT\n")
    (tmp_path / "c.py").write_text("# SPDX-License-Identifier: ISC\n")
    assert licence_of_folder(tmp_path) == "MIT"


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT\nLicense: other\n", "MIT"),
        ("License: BSD\n", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: ISC License\n", "ISC License"),
        (f"License: {'x' * 81}\n", ""),
        ("License: The\n text\n", ""),
        ("", ""),
    ],
)
def test_a_package_says_its_own_in_its_metadata(metadata: str, licence: str) -> None:
    assert licence_of_package(f"Metadata-Version: 2.4\nName: a\n{metadata}\nbody".encode()) == licence
