from __future__ import annotations

from pathlib import Path

from gatewright_builder.fetching.location import locate
from gatewright_builder.manifest import read_manifest
from gatewright_builder.origin import Kind
from gatewright_builder.sources import Sources, find_sources


def build_file(folder: Path, *names: str) -> Path:
    path = folder / "build.yaml"
    path.write_text("version: v1\npolicies:\n" + "".join(f"  - {{name: {name}}}\n" for name in names))
    return path


def test_a_policy_that_ships_needs_no_more_than_its_name(tmp_path: Path) -> None:
    folder = find_sources().root / "policies"
    shipped = [path.parent.name for path in sorted(folder.glob("*/policy-definition.yaml"))]
    assert {"add-headers", "log-message"} <= set(shipped)
    located = locate(read_manifest(build_file(tmp_path, *shipped)))
    assert located.mistakes == ()
    found = [(origin.kind, origin.resolved, origin.folder) for _, origin in located.origins]
    assert found == [(Kind.SHIPPED, f"shipped {name}", folder / name) for name in shipped]


def test_an_installation_that_lacks_it_says_so(tmp_path: Path) -> None:
    manifest, product = read_manifest(build_file(tmp_path, "log-message")), tmp_path / "product"
    expected = (
        "build.yaml:3: expected one of filePath, gomodule, pythonmodule, pipPackage for log-message, "
        "which does not ship with this installation, got none of them; name its sources once"
    )
    assert [str(mistake) for mistake in locate(manifest, product=Sources(product)).mistakes] == [expected]
    for name in ("limit", "stamp"):
        (product / "policies" / name).mkdir(parents=True)
        (product / "policies" / name / "policy-definition.yaml").touch()
    (mistake,) = locate(manifest, product=Sources(product)).mistakes
    assert str(mistake) == f"{expected}; of those that ship, limit, stamp, the name is enough"
    (mistake,) = locate(read_manifest(build_file(tmp_path, "limits")), product=Sources(product)).mistakes
    assert str(mistake).endswith("name its sources once; or was limit meant, which ships?")


def test_a_missing_folder_is_reported_with_its_line(tmp_path: Path) -> None:
    manifest = tmp_path / "stock.yaml"
    manifest.write_text("version: v1\npolicies:\n  - {name: greet, filePath: gret}\n")
    (mistake,) = locate(read_manifest(manifest)).mistakes
    assert str(mistake) == "stock.yaml:3: expected a policy's folder, gret, got no such folder; correct filePath"
