"""OpenAPI documents as APIs: golden pairs, every mistake with its line, and any document at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from gatewright_cli.openapi import Choices, import_openapi, security
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.validation import validate
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import YAML_1_1, parse_yaml, read_yaml
from hypothesis import given
from hypothesis import strategies as st

TESTDATA = Path(__file__).parent / "testdata"
DOCUMENTS = sorted(file for file in TESTDATA.iterdir() if not {".bad", ".api", ".txt"} & set(file.suffixes))
BAD = sorted(TESTDATA.glob("*.bad.yaml"))
POLICIES = Path(__file__).parents[3] / "policies"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def document(**fields: object) -> JsonObject:
    """A document with one operation, and these fields in place of its own."""
    info, servers = {"title": "Pets", "version": "v1"}, [{"url": "http://pets.example/api"}]
    return {"openapi": "3.1.0", "info": info, "servers": servers, "paths": {"/pets": {"get": {}}}, **fields}


def api(source: JsonObject, **choices: object) -> JsonObject:
    """The API that an import writes."""
    return parse_yaml(import_openapi(json.dumps(source).encode(), "pets.json", Choices(**choices)).text.encode())  # type: ignore[arg-type]


def mistakes(source: JsonObject, **choices: object) -> list[str]:
    with pytest.raises(Invalid) as caught:
        api(source, **choices)
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_becomes_this_api(path: Path, request: pytest.FixtureRequest) -> None:
    found = import_openapi(path.read_bytes(), path.name, Choices())
    notes = "".join(f"{path.name}:{note.line}: {note.message}\n" for note in found.notes)
    for golden, text in {".api.yaml": found.text, ".notes.txt": notes}.items():
        file = path.with_suffix(golden)
        if request.config.getoption("--update"):
            file.write_text(text)
        assert text == file.read_text()
    validate(parse_yaml(found.text.encode()), Definitions(), {})


def test_a_reference_names_a_path_with_a_tilde() -> None:
    """`~01` is `~1`, and no slash (RFC 6901, 4)."""
    made = api(document(paths={"/a~1b": {"get": {}}, "/c": {"$ref": "#/paths/~1a~01b"}}))
    assert [(operation["method"], operation["path"]) for operation in made["spec"]["operations"]] == [
        ("GET", "/a~1b"),
        ("GET", "/c"),
    ]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_every_mistake_has_its_line(path: Path) -> None:
    text = path.read_text()
    expected = [line.removeprefix("# expect: ") for line in text.splitlines() if line.startswith("# expect: ")]
    with pytest.raises(Invalid) as caught:
        import_openapi(text.encode(), path.name, Choices())
    found = sorted(caught.value.mistakes, key=lambda mistake: mistake.line)
    assert [str(mistake).removeprefix(f"{path.name}:") for mistake in found] == expected


def test_json_has_the_same_lines() -> None:
    text = json.dumps(document(paths={"/a": {"get": 1}, "/b": {"get": {}}}), indent=2)
    with pytest.raises(Invalid) as caught:
        import_openapi(text.encode(), "pets.json", Choices())
    (mistake,) = caught.value.mistakes
    assert '"get": 1' in text.splitlines()[mistake.line - 1]


def test_choices_override_the_document() -> None:
    chosen = {"name": "animals", "context": "/zoo", "upstream": "http://10.0.0.1:8080"}
    made = api(document(), **chosen)
    assert made["metadata"] == {"name": "animals"}
    assert made["spec"]["context"] == "/zoo"
    assert made["spec"]["upstream"] == {"main": {"url": "http://10.0.0.1:8080/api"}}
    assert (
        api(document(), upstream="http://10.0.0.1:8080/")["spec"]["upstream"]["main"]["url"] == "http://10.0.0.1:8080/"
    )


def test_notes_and_comments_are_lines_of_text() -> None:
    odd = {"url": "http://a.example/\x1b[2J\n- x: y"}
    paths = {"/pets": {"get": {"servers": [odd], "summary": "a\u2028b\x85c\n  # d"}}}
    found = import_openapi(json.dumps(document(paths=paths)).encode(), "pets.json", Choices())
    assert [note.message for note in found.notes if "\x1b" in note.message or "\n" in note.message] == []
    assert "    # a b c # d\n" in found.text
    assert "    # server in the document: http://a.example/ [2J - x: y\n" in found.text


def test_a_server_that_is_a_bare_host_gives_way_to_the_upstream() -> None:
    made = api(document(servers=[{"url": "pets.example"}]), upstream="http://10.0.0.1:8080")
    assert made["spec"]["upstream"]["main"]["url"] == "http://10.0.0.1:8080"
    assert made["spec"]["context"] == "/"


def test_a_wrong_choice_is_no_mistake_of_the_document() -> None:
    assert mistakes(document(), name="No Name", context="zoo", upstream="ftp://x") == [
        "--context: expected a path that starts with '/', got 'zoo'",
        "--name: expected 1 to 63 lower-case letters, digits and inner hyphens, such as 'orders-v1', got 'No Name'",
        "--upstream: expected an http:// or https:// URL (for gRPC: grpc:// or grpcs://), got 'ftp://x/api'",
    ]


def test_a_part_of_a_document_is_an_api_at_the_same_urls() -> None:
    paths: JsonObject = {
        "/pets": {"get": {}},
        "/pets/{id}": {"put": {}},
        "/petshops": {"get": {}},
        "/other": {"get": {}},
    }
    spec = api(document(paths=paths), under="/pets/")["spec"]
    assert (spec["context"], spec["upstream"]["main"]["url"]) == ("/api/pets", "http://pets.example/api/pets")
    assert spec["operations"] == [{"method": "GET", "path": "/"}, {"method": "PUT", "path": "/{id}"}]
    (mistake,) = mistakes(document(paths=paths), under="/nowhere")
    assert "expected at least one operation below /nowhere, got none; correct --paths" in mistake


def test_more_operations_than_an_api_has_are_imported_in_parts() -> None:
    paths: JsonObject = {f"/{'ab'[number % 3 == 0]}/{number}": {"get": {}} for number in range(1001)}
    (mistake,) = mistakes(document(paths=paths))
    assert mistake.endswith("got 1001; import a part of it with --paths, such as /a (667) or /b (334)")
    assert len(api(document(paths=paths), under="/a")["spec"]["operations"]) == 667


def test_semicolons_want_loose_paths() -> None:
    spec = api(document(paths={"/a;b/{c}": {"get": {}}}), strict_paths=False)["spec"]
    assert spec["strictPaths"] is False
    assert spec["operations"] == [{"method": "GET", "path": "/a;b/{c}"}]


def test_numbers_are_keys_and_a_brace_begins_yaml_too() -> None:
    servers = "servers: [{url: http://a.example}]"
    text = f"{{openapi: 3.0.0, info: {{title: a, version: 1}}, {servers}, paths: {{/a: {{get: {{200: x}}}}}}}}".encode()
    assert 'version: "1"' in import_openapi(text, "stdin", Choices()).text


HINTS = (security.JWT, security.TOKEN, security.OPENID, security.API_KEY, security.PASSWORD, security.CERTIFICATE)


def test_hints_name_policies_that_there_are() -> None:
    known = {path.name for path in POLICIES.iterdir() if path.is_dir()}
    named = [word.strip(",") for hint in (*HINTS, security.SIGNATURE) for word in hint.split() if "-" in word]
    assert len(named) == 9
    assert set(named) <= known


@pytest.mark.parametrize(
    ("scheme", "hint"),
    [
        ({"type": "http", "scheme": "Basic"}, security.PASSWORD),
        ({"type": "http", "scheme": "bearer"}, security.TOKEN),
        ({"type": "http", "scheme": "Bearer", "bearerFormat": "JWT"}, security.JWT),
        ({"type": "http", "scheme": "digest"}, security.OWN),
        ({"type": "mutualTLS"}, security.CERTIFICATE),
        ({"type": "oauth2", "flows": {}}, security.TOKEN),
        ({"type": "openIdConnect", "openIdConnectUrl": "https://id.example"}, security.OPENID),
        ({"type": "apiKey", "in": "header", "name": "X-API-Key"}, security.API_KEY),
        ({"type": "apiKey", "in": "header", "name": "x-partner"}, f"{security.API_KEY}, with header: x-partner"),
        ({"type": "apiKey", "in": "query", "name": "key"}, f'{security.API_KEY}, with query: key and header: ""'),
        ({"type": "apiKey", "in": "cookie", "name": "s"}, f'{security.API_KEY}, with cookie: s and header: ""'),
        ({"type": "apiKey", "in": "header", "name": "X-Hub-Signature-256"}, security.SIGNATURE),
        ({"type": "apiKey"}, security.API_KEY),
        ({"type": "nonsense"}, security.OWN),
        (None, security.OWN),
    ],
)
def test_a_security_scheme_names_the_policy_that_requires_it(scheme: JsonObject | None, hint: str) -> None:
    components = {"securitySchemes": {} if scheme is None else {"one": scheme}}
    source = document(security=[{"one": []}], components=components)
    text = import_openapi(json.dumps(source).encode(), "pets.json", Choices()).text
    assert f"  # for one, attach {hint}\n" in text


# ---------------------------------------------------------------- any document

PIECES = st.sampled_from(
    ["a", "b.c", "{id}", "{id}", "{a}.{b}", "{x+}", "{n=**}", "*", "", ".", "..", "é", "a b", "%41", "%2f", "%zz", "{",
     "}", "{}", "{{a}}", "a*b", ";v=1", "%2541", "\\", "?q={q}", "#frag", "x:y", "\0", "[1]", "{?page}", '"', "$a",
     "{1}", "{é}"]
)  # fmt: skip
PATHS = st.lists(PIECES | st.lists(PIECES, max_size=3).map("".join) | TEXT, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)
SCHEMES = st.sampled_from(["none", "bearer", "key", "# x\ny"])
OPERATION = st.fixed_dictionaries(
    {},
    optional={
        "operationId": TEXT, "summary": TEXT, "description": TEXT | st.integers(), "deprecated": st.booleans(),
        "security": st.lists(st.dictionaries(SCHEMES, st.lists(TEXT, max_size=2), max_size=2), max_size=2),
        "servers": st.lists(st.fixed_dictionaries({"url": TEXT}), max_size=1),
    },
)  # fmt: skip
METHOD = st.sampled_from(["get", "post", "put", "patch", "delete", "head", "options", "trace", "x-y", "parameters"])
URLS = (
    st.sampled_from(["http://a.example", "https://a.example:8443/v1/", "grpc://[::1]/x", "/", "/v2", "http://{h}/x"])
    | TEXT
)
ANY = st.fixed_dictionaries(
    {
        "openapi": st.sampled_from(["3.0.0", "3.0.3", "3.1.0", "3.1"]),
        "info": st.fixed_dictionaries({"title": TEXT | st.just("Pets"), "version": TEXT | st.floats(0, 9) | st.none()}),
        "servers": st.lists(st.fixed_dictionaries({"url": URLS}), max_size=3),
        "paths": st.dictionaries(PATHS | TEXT, st.dictionaries(METHOD, OPERATION, max_size=3), max_size=6),
        "security": st.lists(st.dictionaries(SCHEMES, st.lists(TEXT, max_size=1), max_size=2), max_size=2),
    }
)
CHOICES = st.builds(
    Choices, st.just("pets") | st.none(), st.none() | st.just("/ctx"), st.just("http://b.example") | st.none() | TEXT,
    st.just("") | st.just("/a"), st.booleans(),
)  # fmt: skip


@given(ANY, CHOICES, st.booleans())
def test_any_document_becomes_a_valid_api_or_has_mistakes_with_lines(
    source: JsonObject, choices: Choices, as_yaml: bool
) -> None:
    written = yaml.safe_dump(source, allow_unicode=True) if as_yaml else json.dumps(source, indent=1)
    lines = sum(map(written.count, "\n\x85\u2028\u2029")) + 1  # as YAML 1.1 counts them
    try:
        text = import_openapi(written.encode(), "any.yaml", choices).text
    except Invalid as invalid:
        for mistake in invalid.mistakes:
            assert mistake.line in range(1, lines + 1) or mistake.field.startswith("--"), str(mistake)
        return
    document = parse_yaml(text.encode())
    assert document == read_yaml(text.encode(), YAML_1_1)
    made = validate(document, Definitions(), {})
    methods = sum(name in operations for operations in source["paths"].values() for name in operations)
    assert len(made.spec.operations) <= methods
