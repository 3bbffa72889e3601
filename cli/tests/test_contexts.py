from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from gatewright_cli.contexts import Context, Contexts, change_contexts, contexts_file, file_beside, read_contexts
from gatewright_cli.mistakes import ExitStatus, PreflightError
from msgspec.structs import replace

STAGING = Context("http://127.0.0.1:9091", token="s3cret")  # noqa: S106
WHOLE = """current: production
contexts:
  production:
    url: https://gateway.example:9443
    tokenFile: token
    ca: ca.pem
  staging: {url: "http://10.0.0.5:9090", token: s3cret, inClear: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gatewright" / "contexts.yaml"


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def with_context(name: str, context: Context = STAGING, current: str = "") -> Contexts:
    return Contexts(current, {name: context})


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert contexts_file({}) == Path("/home/ann/.config/gatewright/contexts.yaml")
    assert contexts_file({"XDG_CONFIG_HOME": "/etc/ann"}) == Path("/etc/ann/gatewright/contexts.yaml")
    named = {"XDG_CONFIG_HOME": "/etc/ann", "GATEWRIGHT_CONTEXTS": str(tmp_path / "mine.yaml")}
    assert contexts_file(named) == tmp_path / "mine.yaml"
    assert file_beside(Path("/a/contexts.yaml"), "ca.pem") == Path("/a/ca.pem")
    assert file_beside(Path("/a/contexts.yaml"), "/b/ca.pem") == Path("/b/ca.pem")
    assert file_beside(Path("/a/contexts.yaml"), "~/ca.pem") == Path("/home/ann/ca.pem")


def test_no_file_and_an_empty_one_have_no_contexts(file: Path) -> None:
    assert read_contexts(file) == Contexts()
    assert read_contexts(written(file, "# none yet\n")) == Contexts()


def test_what_is_written_is_read_again(file: Path) -> None:
    contexts = read_contexts(written(file, WHOLE))
    assert contexts.current == "production"
    assert contexts.contexts["production"] == Context("https://gateway.example:9443", token_file="token", ca="ca.pem")  # noqa: S106
    assert contexts.contexts["staging"].in_clear
    file.unlink()
    assert change_contexts(file, lambda _: contexts) == contexts
    assert read_contexts(file) == contexts
    assert [*read_contexts(file).contexts] == ["production", "staging"], "expected the order to stay"


def test_only_its_owner_may_read_it(file: Path) -> None:
    for mode in (0o644, 0o640, 0o604, 0o620):
        written(file, WHOLE, mode)
        refusal = f"{file}: expected mode 600, since it may hold tokens, got {mode:o}: chmod 600 {file}"
        with pytest.raises(PreflightError) as refused:
            read_contexts(file)
        assert refused.value.mistakes == [refusal]
        with pytest.raises(PreflightError):
            change_contexts(file, lambda _: Contexts())
        assert file.read_text() == WHOLE
    assert read_contexts(written(file, WHOLE, 0o400)).current == "production"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_it_is_the_users_own(file: Path) -> None:
    os.chown(written(file, WHOLE), 65534, -1)
    with pytest.raises(PreflightError, match="expected a file of the user 0, got one of 65534"):
        read_contexts(file)


def test_it_is_written_with_mode_600_whatever_the_umask(file: Path) -> None:
    before = os.umask(0)
    try:
        change_contexts(file, lambda _: with_context("staging"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["contexts.yaml"]


def test_a_link_stays_one(file: Path, tmp_path: Path) -> None:
    written(tmp_path / "elsewhere.yaml", WHOLE)
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere.yaml")
    change_contexts(file, lambda contexts: replace(contexts, current="staging"))
    assert file.is_symlink()
    assert (tmp_path / "elsewhere.yaml").read_text().startswith("current: staging\n")


def test_a_change_that_fails_leaves_the_file_as_it_was(file: Path) -> None:
    written(file, WHOLE)

    def fail(_: Contexts) -> Contexts:
        raise PreflightError(["no"])

    with pytest.raises(PreflightError):
        change_contexts(file, fail)
    before = file.stat().st_ino
    change_contexts(file, lambda contexts: contexts)
    assert (file.read_text(), file.stat().st_ino) == (WHOLE, before), "expected no write without a change"


def test_of_changes_at_once_none_is_lost(file: Path) -> None:
    start = threading.Barrier(8)

    def add(name: str) -> None:
        start.wait()
        for number in range(5):
            added = {f"{name}-{number}": STAGING}
            change_contexts(file, lambda found: replace(found, contexts={**found.contexts, **added}))  # noqa: B023 - it is called before the next

    threads = [threading.Thread(target=add, args=(f"n{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_contexts(file).contexts) == 40


MISTAKES = {
    "- a\n": ":1: expected",
    "contexts: {a: {url: 'http://127.0.0.1', token: [1]}}\n": "contexts.a.token: expected",
    "contexts:\n  a:\n    url: gateway\n": (
        ":3: contexts.a.url: expected a URL such as https://gateway.example:9443 or http://127.0.0.1:9090, "
        "got 'gateway'"
    ),
    "contexts:\n  a: {token: x}\n": ":2: contexts.a.url: expected",
    "contexts:\n  a:\n    uri: http://127.0.0.1\n": ":3: contexts.a.uri: expected",
    "contexts:\n  a b: {url: 'http://127.0.0.1'}\n": ':2: contexts["a b"]: expected a name of 1 to 63 letters',
    "contexts:\n  a: {url: 'http://127.0.0.1', token: s3cret, tokenFile: f}\n": "expected either token or tokenFile",
    "contexts:\n  a: {url: 'http://127.0.0.1', token: \"s3cret\\n\"}\n": "expected printable ASCII characters",
    "contexts: {a: {url: 'http://127.0.0.1'}, a: {url: 'http://127.0.0.1'}}\n": "expected",
    "contexts: [\n": "expected a YAML document",
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items())
def test_mistakes_have_file_and_line_and_no_token(file: Path, text: str, expected: str) -> None:
    with pytest.raises(PreflightError) as refused:
        read_contexts(written(file, text))
    assert any(expected in mistake for mistake in refused.value.mistakes), refused.value.mistakes
    assert all(mistake.startswith(f"{file}:") and "s3cret" not in mistake for mistake in refused.value.mistakes)
    with pytest.raises(PreflightError):
        change_contexts(file, lambda _: Contexts())
    assert file.read_text() == text


def test_all_mistakes_are_named_at_once(file: Path) -> None:
    with pytest.raises(PreflightError) as refused:
        read_contexts(written(file, "contexts:\n  a: {url: x}\n  b: {url: y}\n"))
    assert len(refused.value.mistakes) == 2


def test_an_unknown_name_lists_the_known_ones(file: Path) -> None:
    with pytest.raises(PreflightError) as refused:
        read_contexts(written(file, WHOLE)).find("prod", file)
    assert refused.value.mistakes == [
        f"expected a context of {file} (production, staging), got 'prod': "
        "correct the name, or add one with `gatewright context add`"
    ]
    assert refused.value.status is ExitStatus.NOT_FOUND
