"""A run whose files have all APIs: they are followed, and of two that claim the same one serves until it is gone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


def command(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ["gatewright", *arguments, "--run-dir", str(gateway.run_dir)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_follows_its_files(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    files = tmp_path / "apis"
    files.mkdir()

    def save(file: str, name: str, context: str) -> None:
        document = api(name, upstream.url)
        document["spec"]["context"] = context
        (files / file).write_text(yaml.safe_dump(document))

    def answer(path: str) -> int:
        return httpx.get(f"{gateway.url}{path}").status_code

    save("shop.yaml", "shop", "/shop")
    defaults = {"apiVersion": "gatewright.dev/v1", "kind": "Defaults", "metadata": {"name": "all"}}
    added = {"policies": {"before": [attach("answer", {"status": 418, "body": "by the Defaults"})]}}
    (files / "defaults.yaml").write_text(yaml.safe_dump({**defaults, "spec": added}))
    with running(build, tmp_path / "state", "--apis", str(files), "--files-only") as gateway:
        assert answer("/shop/x") == 418, "by the Defaults of the folder"
        refused = command(gateway, "delete", "defaults", "all")
        assert (refused.returncode, "all is in defaults.yaml there: change that file" in refused.stderr) == (4, True)
        (files / "defaults.yaml").unlink()
        eventually("they go with their file", lambda: answer("/shop/x") == 200)
        save("late.yaml", "late", "/shop")
        save("cart.yaml", "cart", "/cart")
        eventually("a new file is served", lambda: answer("/cart/x") == 200)
        listed = command(gateway, "list", "files", "-o", "json").stdout
        assert [(file["file"], file["state"], file.get("winner")) for file in json.loads(listed)] == [
            ("cart.yaml", "served", None),
            ("late.yaml", "notServed", "shop"),
            ("shop.yaml", "served", None),
        ]
        sentence = "late is served once shop is gone or has moved"
        eventually("the status has the loser", lambda: sentence in command(gateway, "status").stdout)
        assert [sentence in line for line in gateway.log].count(True) == 1
        refused = command(gateway, "apply", "-f", str(files / "shop.yaml"))
        assert refused.returncode == 4
        assert f"this controller takes its APIs from the files of {files} alone" in refused.stderr
        assert command(gateway, "delete", "api", "shop").returncode == 4
        (files / "shop.yaml").unlink()
        eventually(
            "the loser is served",
            lambda: "late.yaml  Api   late      served" in command(gateway, "list", "files").stdout,
        )
        assert answer("/shop/x") == 200
        assert command(gateway, "get", "api", "shop").returncode == 3
