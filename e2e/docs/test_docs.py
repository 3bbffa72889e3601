"""The documentation is held to what there is: its samples run as they stand, its commands, links and names exist."""

from __future__ import annotations

import asyncio
import functools
import hmac
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from opentelemetry import context as tracing_context
from opentelemetry import propagate
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sdk import testing
from sdk.policy import (
    Identity,
    ImmediateResponse,
    Peer,
    PolicyMetadata,
    RequestContext,
    RequestStreamContext,
    ResponseContext,
    ResponseStreamContext,
    TraceContext,
    UpstreamRequestModifications,
)

from e2e.kit.gateway import Gateway, Json, api, attach, credentials, running
from e2e.kit.markdown import (
    GO_TESTS,
    PAGES,
    blocks,
    commands,
    inline,
    links,
    named_tests,
    page,
    repository_files,
    section,
)
from e2e.kit.places import ROOT
from e2e.kit.upstream import Reply, Upstream

pages = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
UPSTREAM = "http://orders.internal:8080"


# ---------------------------------------------------------------- samples


def quota(folder: Path, policy: str) -> Path:
    """The policy that README and docs/how-to/policies.md show, as a folder with the latter's definition of it."""
    folder.mkdir(parents=True)
    (folder / "policy-definition.yaml").write_text(blocks(page("docs/how-to/policies.md"), "yaml")[0])
    (folder / "policy.py").write_text(policy)
    (folder / "requirements.txt").touch()
    return folder


def streams(folder: Path, definition: str) -> None:
    """The policy of docs/how-to/policy-streams.md."""
    folder.mkdir(parents=True)
    (folder / "policy-definition.yaml").write_text(definition)
    (folder / "policy.py").write_text(python_with("CARD ="))


def python_with(word: str) -> str:
    """The first block of the pages about policies that has it."""
    return next(block for block in blocks(policy_pages(), "python") if word in block)


def policy_pages() -> str:
    """The page about policies, and those behind it."""
    behind = ("contract", "life", "streams", "tests")
    return "\n".join(page(f"docs/how-to/{name}.md") for name in ("policies", *(f"policy-{topic}" for topic in behind)))


@pytest.fixture(scope="module")
def docs_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway built from docs/how-to/policies.md's build.yaml, README's policy in it, and what its APIs attach."""
    place = tmp_path_factory.mktemp("documented")
    quota(place / "policies" / "quota", blocks(page("README.md"), "python")[0])
    manifest: Json = yaml.safe_load(blocks(page("docs/how-to/policies.md"), "yaml")[1])
    streams(place / "policies" / "mask_cards", blocks(page("docs/how-to/policy-streams.md"), "yaml")[0])
    manifest["policies"].append({"name": "mask-cards", "filePath": "policies/mask_cards"})
    manifest["policies"].append({"name": "log-message", "filePath": str(ROOT / "policies" / "log-message")})
    sample = str(ROOT / "sample-policies" / "add-python-header")
    manifest["policies"].append({"name": "add-python-header", "filePath": sample})
    (place / "build.yaml").write_text(yaml.safe_dump(manifest))
    subprocess.run(["gatewright", "build", "--output", "build"], cwd=place, check=True)
    with running(place / "build", place / "state") as gateway:
        yield gateway


def publish(gateway: Gateway, definition: str) -> None:
    """By the very command of docs/how-to/apis.md."""
    (command,) = (command for command in commands(page("docs/how-to/apis.md"), "curl") if "-X POST" in command)
    words = shlex.split(command)
    assert words[:3] == ["curl", "-X", "POST"]
    assert words[4] == "-H"
    assert words[6] == "--data-binary"
    assert words[7] == "@orders.yaml"
    assert words[8] == "-H"
    assert words[9] == "authorization: Bearer $(cat RUN/management-token)"
    name, value = words[5].split(": ")
    address = str(gateway.process_status("controller")["listen"])
    url = words[3].replace("127.0.0.1:9090", address)
    headers = {name: value, **credentials(gateway.run_dir)}
    answer = httpx.post(url, headers=headers, content=definition, timeout=30)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(("name", "number"), [("docs/how-to/policies.md", 2), ("docs/how-to/apis.md", 0)])
def test_shown_apis_run_unchanged(docs_gateway: Gateway, upstream: Upstream, name: str, number: int) -> None:
    definition = blocks(page(name), "yaml")[number]
    assert UPSTREAM in definition
    publish(docs_gateway, definition.replace(UPSTREAM, upstream.url))
    try:
        assert httpx.get(f"{docs_gateway.url}/orders/v1.0/7").status_code == 200
        assert httpx.get(f"{docs_gateway.url}/orders/v1.0/7/8").status_code == 404
    finally:
        with docs_gateway.controller() as client:
            name = yaml.safe_load(definition)["metadata"]["name"]
            assert client.delete(f"/v1/apis/{name}", params={"wait": "10"}).is_success
    (request,) = upstream.received
    assert request.target == "/api/7"
    assert request.value("x-python-policy")


def test_the_shown_policy_runs_unchanged(docs_gateway: Gateway, upstream: Upstream) -> None:
    docs_gateway.deploy(api("quotas", upstream.url, [attach("tenant-quota", {"quotas": {"blue": 7}})]))
    refused = httpx.get(f"{docs_gateway.url}/quotas/x")
    assert (refused.status_code, refused.text) == (401, "which tenant?")
    for tenant in ("blue", "green"):
        assert httpx.get(f"{docs_gateway.url}/quotas/x", headers={"x-tenant": tenant}).status_code == 200
    assert [request.value("x-quota") for request in upstream.received] == ["7", "0"]


def test_the_shown_stream_policy_runs_unchanged(docs_gateway: Gateway, upstream: Upstream) -> None:
    docs_gateway.deploy(api("cards", upstream.url, [attach("mask-cards")]))
    upstream.reply = lambda _: Reply(200, [("content-type", "text/plain")], b"paid by 4111 1111 1111 1111.")
    paid = httpx.post(f"{docs_gateway.url}/cards/x", content=b"\x89PNG and more")
    assert (paid.status_code, paid.text) == (200, "paid by ****.")
    refused = httpx.post(f"{docs_gateway.url}/cards/x", content=b"GIF89a")
    assert (refused.status_code, refused.text) == (415, "expected a PNG")
    assert [request.body for request in upstream.received] == [b"\x89PNG and more"]


SHOWN = [
    ("quotas", "a_tenant_gets_its_quota"),
    ("Which tenant has which plan", "has_its_plan"),
    ("quotas", "it_is_read_again_after_a_minute"),
    ("CARD =", "a_card_is_masked_wherever_it_is_cut"),
]


def test_the_shown_event_policy_counts_events(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("sse_events"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    events = b"data: a\n\n: still here\n\ndata: b\n\ndata: [DONE]\n\n"
    for seed in range(20):
        result = testing.run_stream(policy.on_response_stream, testing.stream(events, seed=seed))
        assert result.body == events.replace(b"data: [DONE]", b'event: usage\ndata: {"tokens": 2}\n\ndata: [DONE]')


@pytest.mark.parametrize("shown", SHOWN)
def test_the_shown_test_passes_with_the_shown_policy(tmp_path: Path, shown: tuple[str, str]) -> None:
    policy, test = map(python_with, shown)
    folder = quota(tmp_path / "quota", policy)
    (folder / "test_quota.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert "1 passed" in result.stdout, result.stdout


def test_all_members_of_a_context_are_listed() -> None:
    text = policy_pages()
    names = {name.removesuffix("()") for name in inline(text[text.index("| `ctx` of") : text.index("| you return")])}
    for context in (RequestContext, ResponseContext):
        assert {name for name in vars(context) if not name.startswith("_")} <= names
    streamed = set(inline(section(text, "Stream a body")))
    for stream in (RequestStreamContext, ResponseStreamContext):
        assert {f"ctx.{name}" for name in vars(stream) if not name.startswith("_")} <= streamed
    for kind in (TraceContext, PolicyMetadata):
        assert set(kind.__annotations__) <= names | {"api_name", "api_version"}
    assert set(Peer.__annotations__) <= set(inline(section(text, "Who the client is")))
    assert set(Identity.__annotations__) <= set(inline(section(text, "Who the client is")))


def test_the_shown_peer_policy_admits_billing_alone(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("ctx.peer"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    billing, other = (Peer(uris=(f"spiffe://example.org/{name}",)) for name in ("billing", "billing2"))
    assert policy.on_request(testing.request(peer=billing), {}) is None
    for peer in (other, None):
        assert isinstance(policy.on_request(testing.request(peer=peer), {}), ImmediateResponse)


def test_the_shown_policy_edits_query_and_cookies(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("ctx.query_params"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    query = "token=s3cret&q=%7Ex+y&tag=old"
    action = policy.on_request(testing.request(query=query, headers={"cookie": "a=1; session=s3cret"}), {})
    assert action.query == "q=%7Ex+y&tag=a&tag=b%20c&page=1"
    assert (action.remove_headers, action.append_headers) == (["cookie"], {"cookie": "a=1"})


def test_the_shown_policy_sets_the_identity(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("ctx.identity = "))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    params = testing.params(keys={"k1": "ann"})
    ctx = testing.request(headers={"x-api-key": "k1"})
    assert policy.on_request(ctx, params) is None
    assert ctx.identity == Identity("ann", "api-keys", ("read",), {}, "api-key")
    assert policy.on_request(testing.request(), params) == ImmediateResponse(401)


def test_the_shown_policy_reads_the_text_of_a_body(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("charsets.decode"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))

    def status(body: bytes, content_type: str) -> int | None:
        action = policy.on_request(testing.request("POST", headers={"content-type": content_type}, body=body), {})
        return None if action is None else action.status_code

    assert status(b"a secret", "text/plain") == 403
    assert status("a secret".encode("utf-16"), "text/plain; charset=utf-16") == 403
    assert status(b"another", "text/plain; charset=iso-8859-1") is None
    assert status(b"a secret", "text/plain; charset=utf-7") == 415


def test_the_shown_policy_signs_the_upstream_path(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("ctx.upstream_path is None"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    params = testing.params(key=testing.secret("k"))
    ctx = testing.request(path="/orders/7", query="a=b", upstream_path="/api/7")
    signature = hmac.new(b"k", b"GET\n/api/7\na=b", "sha256").hexdigest()
    assert policy.on_request(ctx, params).set_headers == {"x-signature": signature}
    assert policy.on_request(testing.request(path="/orders/7"), params) == ImmediateResponse(503)


def test_the_shown_policy_reads_bearer_tokens(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(python_with("bearer.token"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    params = testing.params(tokens={"ann": testing.secret("t1")})
    ctx = testing.request(headers={"authorization": "bearer t1"})
    assert policy.on_request(ctx, params) is None
    assert ctx.identity == Identity("ann", method="token")
    challenges = {}
    for lines in ((), ("Bearer t2",), ("Bearer t 1",), ("Bearer t1", "Bearer t1")):
        answer = policy.on_request(testing.request(headers=[("authorization", line) for line in lines]), params)
        challenges[lines] = (answer.status_code, answer.headers["www-authenticate"].split(", error_description")[0])
    assert challenges == {
        (): (401, 'Bearer realm="orders"'),
        ("Bearer t2",): (401, 'Bearer realm="orders", error="invalid_token"'),
        ("Bearer t 1",): (401, 'Bearer realm="orders", error="invalid_token"'),
        ("Bearer t1", "Bearer t1"): (400, 'Bearer realm="orders", error="invalid_request"'),
    }


def test_the_shown_requests_to_models_are_read_as_shown() -> None:
    for block in blocks(page("docs/how-to/policy-llm.md"), "python"):
        exec(block, {})  # noqa: S102 - our own page, which has assertions


def test_the_shown_messages_of_mcp_are_read_as_shown() -> None:
    exec(blocks(page("docs/how-to/mcp.md"), "python")[0], {})  # noqa: S102 - our own page, which has assertions


def test_the_shown_policy_shares_a_client(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "policy.py").write_text(python_with("async def setup"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    upstream.reply = lambda _: Reply(200, [], b"gold")

    async def ask() -> object:
        async with testing.setup(policy, testing.params(url=upstream.url)) as client:
            params = testing.params(plan="blue")
            async with testing.prepared(policy, params, shared=client) as plan:
                return await policy.on_request(testing.request(prepared=plan, shared=client), params)

    assert asyncio.run(ask()) == UpstreamRequestModifications(set_headers={"x-plan": "gold"})
    assert [(request.method, request.target) for request in upstream.received] == [
        ("GET", "/plans/blue"),
        ("HEAD", "/open"),
    ]


def test_the_shown_span_lies_between_its_execution_and_its_call(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "policy.py").write_text(python_with("get_tracer"))
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    vars(policy)["tracer"] = provider.get_tracer("plans")
    upstream.reply = lambda _: Reply(200, [], b"gold")
    execution = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def look_up() -> object:
        async with testing.prepared(policy, testing.params(url=upstream.url)) as client:
            tracing_context.attach(propagate.extract({"traceparent": execution}))
            return await policy.on_request(testing.request(prepared=client, traceparent=execution), testing.params())

    assert asyncio.run(look_up()) == UpstreamRequestModifications(set_headers={"x-plan": "gold"})
    (span,) = exporter.get_finished_spans()
    own = span.get_span_context()
    assert span.parent is not None
    assert own is not None
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert span.attributes == {"http.response.status_code": 200}
    (call,) = upstream.received
    assert call.value("traceparent") == f"00-4bf92f3577b34da6a3ce929d0e0e4736-{own.span_id:016x}-01"


def test_the_settings_and_requests_of_the_api_page_work(docs_gateway: Gateway, upstream: Upstream) -> None:
    rows = page("docs/how-to/apis.md").partition("| setting of an attachment |")[2].partition("\n\n")[0]
    table = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", rows, re.MULTILINE))
    assert table.keys() == {
        "mode",
        "params",
        "when",
        "timeout",
        "streamIdleTimeout",
        "onError",
        "maxConcurrency",
        "maxBodyBytes",
    }
    defaults = {
        "mode": table["mode"],
        "timeout": table["timeout"],
        "onError": table["onError"],
        "maxBodyBytes": int(table["maxBodyBytes"]),
    }
    definition = api("settings", upstream.url, [attach("tenant-quota", {}, maxConcurrency=3, **defaults)])
    with docs_gateway.controller() as client:
        assert client.post("/v1/apis", json=definition).status_code == 201
        assert client.post("/v1/apis", json=definition).status_code == 409
        (bad := api("wrong", upstream.url, [attach("tenant-quota", {}, patience="1s")]))["spec"]["context"] = "wrong"
        refused = client.post("/v1/apis", json=bad)
        assert refused.status_code == 422
        assert len(refused.json()["errors"]) == 2
        for path in ("apis", "apis/settings", "apis/settings/status", "policies", "nodes"):
            assert client.get(f"/v1/{path}").status_code == 200
        assert client.put("/v1/apis/settings", json=definition).status_code == 200
        assert client.delete("/v1/apis/settings").is_success


def rows_of(text: str) -> list[list[str]]:
    """The cells of the tables' rows, without the headings and what is beneath them."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row for row, next_row in zip(lines, [*lines[1:], [""]], strict=True) if "---" not in row[0] + next_row[0]]


def test_the_figures_of_the_readme_are_those_of_the_bench() -> None:
    bench = page("bench/README.md")
    measured = bench.partition("### 64 connections")[2].partition("###")[0]
    headings = next(line.strip("| ").split(" | ") for line in measured.splitlines() if line.startswith("| "))
    serves, costs = headings.index("req/s"), headings.index("CPU all")
    measured_rows = rows_of(measured)
    figures = {row[0].removesuffix(" \\*"): [row[serves].split()[0], row[costs].split()[0]] for row in measured_rows}
    ratios = {
        row[1]: [f"{row[2].split()[0]} ×", f"{row[3].split()[0]} ×"]
        for row in rows_of(bench.partition("### The engine inside Envoy")[2].partition("###")[0])
        if row[0] == "64"
    }
    both, inside = section(page("README.md"), "What it costs").split("The same rows with the engine inside Envoy")
    for table, known, at_least in ((both, figures, 6), (inside, ratios, 3)):
        found = {row[0]: row[1:] for row in rows_of(table)}
        assert len(found) >= at_least
        assert found == {name: known[name] for name in found}


# ---------------------------------------------------------------- names

STARTERS = [ROOT / "cli/src/gatewright_cli" / name for name in ("starter", "starter_ai")]
PARTS = ("cli", "gateway-builder", "gateway-controller", "gateway-runtime")  # whose variables are documented


@pages
def test_links_have_targets(path: Path) -> None:
    generated_pages = {f"policy-{folder.name}.md" for folder in (ROOT / "policies").iterdir()} | {"management-api.md"}
    targets = [target for target in links(path.read_text()) if Path(target).name not in generated_pages]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def root_folders() -> set[str]:
    """The folders of the repository's root."""
    return {file.parts[0] for file in repository_files() if len(file.parts) > 1}


@pages
def test_named_folders_and_files_exist(path: Path) -> None:
    """A token that begins with a folder of the root is a path there or in the folder of `gatewright init`."""
    folders = root_folders()
    names = [token for token in inline(path.read_text()) if re.fullmatch(r"[\w./-]+/[\w./-]*", token)]
    inside = [token for token in names if token.split("/")[0] in folders]
    assert [token for token in inside if not any((root / token).exists() for root in (ROOT, *STARTERS))] == []


def test_outputs_of_make_targets_are_not_in_the_repository() -> None:
    assert {"docs", "cli", ".github"} <= root_folders()
    assert not root_folders() & {"build", "dist", ".gatewright", ".venv", ".tools"}


@pages
def test_named_tests_exist(path: Path) -> None:
    for file, test in named_tests(path.read_text()):
        place = next((base / file for base in (ROOT, GO_TESTS) if (base / file).is_file()), None)
        assert place, f"no file {file} for {test}"
        assert re.search(rf"^\s*(def|func) {test}\(", place.read_text(), re.MULTILINE), f"no {test} in {file}"


@pytest.mark.parametrize("name", ["docs/reference/envoy.md", "docs/reference/regressions.md"])
def test_every_line_of_these_tables_names_a_test(name: str) -> None:
    rows = [line for line in page(name).splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    rows = [row for row in rows if not row.endswith("| held by |")]
    assert len(rows) >= 7
    assert [row for row in rows if not list(named_tests(row.rsplit(" | ", 1)[1]))] == []


# ---------------------------------------------------------------- commands


@pages
def test_named_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", page("Makefile"), re.MULTILINE))
    make_commands = [command.split() for command in commands(path.read_text(), "make")]
    assert {words[1] for words in make_commands if len(words) > 1} <= targets


@pages
def test_named_commands_accept_their_options(path: Path) -> None:
    for command in commands(path.read_text(), "gatewright [a-z-]+"):
        words = command.split()[1:]
        known = options("gatewright", *subcommand(words), "--help")
        options_named = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options_named <= known, command


def subcommand(words: list[str]) -> list[str]:
    """The words before the options that name a command: `build`, `new policy`."""
    depths = {"consumer": 3, **dict.fromkeys(("context", "new", "node", "secret", "token"), 2)}
    return words[: depths.get(words[0], 1)] if words and not words[0].startswith("--") else []


@functools.cache
def options(*command: str) -> set[str]:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, f"{shlex.join(command)}: {result.stderr}"
    return {"--" + name for name in re.findall(r"(?:^|\s)--?([a-z][\w-]*)", result.stdout + result.stderr)}


def test_the_processes_of_the_architecture_accept_their_options(build: Path) -> None:
    text = page("ARCHITECTURE.md")
    python = str(build / "python-env" / "default" / "bin" / "python")
    for process, helps in {
        "controller": [sys.executable, "-m", "gatewright_controller", "--help"],
        "executor": [python, str(build / "python-executor" / "main.py"), "--help"],
        "engine": [str(build / "bin" / "policy-engine"), "--help"],
    }.items():
        shown = re.search(rf"^    {process} +\S+.*(\n {{8,}}.*)*", text, re.MULTILINE)
        assert shown, process
        assert set(re.findall(r"--[\w-]+", shown[0])) <= options(*helps), process


def test_bench_accepts_its_documented_options() -> None:
    arguments = re.findall(r'make bench ARGS=("[^"]+"|\S+)', page("bench/README.md"))
    assert len(arguments) >= 3
    named: dict[tuple[str, ...], set[str]] = {}
    for command, *words in (shlex.split(text.strip('"')) for text in arguments):
        own: tuple[str, ...] = () if command.startswith("--") else (command,)
        named.setdefault(own, set()).update(word for word in (command, *words) if word.startswith("--"))
    for part, options_named in named.items():
        assert not options_named or options_named <= options(sys.executable, "-m", "bench", *part, "--help"), part


@pages
def test_named_variables_are_read(path: Path) -> None:
    names = set(re.findall(r"\bGATEWRIGHT_\w+", path.read_text()))
    assert [name for name in names if name not in text_that_names_variables()] == []


@functools.cache
def text_that_names_variables() -> str:
    """The lines with a variable's name, of all that reads some and of the references that tests hold to the code."""
    sources = [file for file in repository_files() if file.parts[0] in PARTS and file.suffix in {".py", ".go", ".sh"}]
    references = controller_settings(), page("docs/reference/gateway.md")
    texts = (*((ROOT / file).read_text() for file in sources), *references)
    return "\n".join(
        line for text in texts if "GATEWRIGHT_" in text for line in text.splitlines() if "GATEWRIGHT_" in line
    )


@functools.cache
def controller_settings() -> str:
    command = [sys.executable, "-m", "gatewright_controller", "--print-settings"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_variables_read_are_listed() -> None:
    """Variables of the controller's settings share a prefix: the site has a page of them, generated from the code."""
    text = page("docs/reference/environment.md")
    files = [file for file in repository_files() if file.parts[0] in PARTS and file.suffix == ".py"]
    sources = ((ROOT / file).read_text() for file in files if "src" in file.parts)
    read = {name for source in sources for name in re.findall(r'"(GATEWRIGHT_[A-Z_]*[A-Z])"', source)}
    assert len(read) >= 8
    assert {name for name in read if f"`{name}`" not in text} == set()


@pytest.mark.parametrize(
    ("words", "name", "heading"),
    [
        ("unit test", "docs/how-to/policy-tests.md", "Unit tests of a policy"),
        ("secretRef", "docs/how-to/secrets.md", "Secrets: secretRef"),
        ("policy packages requirements", "docs/how-to/policies.md", "Packages of a policy: its requirements"),
        ("rate limit per customer", "docs/how-to/what-policies-do.md", "A rate limit per customer"),
        ("graphql", "docs/how-to/what-policies-do.md", "GraphQL"),
    ],
)
def test_usual_search_terms_have_a_heading(words: str, name: str, heading: str) -> None:
    """The site's search wants all words in one section, and ranks those first that have them in their heading."""
    assert re.search(rf"^#+ {heading}$", page(name), re.MULTILINE)
    assert all(word.lower() in heading.lower() for word in words.split())
