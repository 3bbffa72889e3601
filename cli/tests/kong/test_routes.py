"""Kong's routes as contexts and operations: paths, the order of its router, and paths upstream."""

from __future__ import annotations

import pytest
from gatewright_cli.kong.templates import PathError, Template, parse_route_path
from gatewright_documents.values import JsonObject

from cli.tests.kong.kong_documents import apis_of, import_document, import_route, outcomes


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", Template()),
        ("/a/b", Template(("a", "b"))),
        ("/a/", Template(("a",))),
        ("~/a$", Template(("a",), False, is_regex=True)),
        ("~/a/?$", Template(("a",), False, is_regex=True)),
        ("~/a", Template(("a",), True, is_regex=True)),
        ("~/a(/.*)?$", Template(("a",), True, is_regex=True)),
        ("~/a/.*", Template(("a",), True, is_regex=True)),
        ("~/a/(?<id>[^#?/]+)/b$", Template(("a", None, "b"), False, is_regex=True)),
        ("~/v1\\.0/x$", Template(("v1.0", "x"), False, is_regex=True)),
        ("~/v1.0/x$", Template(("v1.0", "x"), False, is_regex=True)),
        ("~/a/\\d+$", Template(("a", None), False, "^(?:/a/\\d+$)", is_regex=True)),
        ("~/(a|b)/c$", Template((None, "c"), False, "^(?:/(a|b)/c$)", is_regex=True)),
        ("~/a/.*\\.jpg$", Template(("a",), True, "^(?:/a/.*\\.jpg$)", strips_all=True, is_regex=True)),
        ("~/a/(?<x>\\d+)$", Template(("a", None), False, "^(?:/a/(?P<x>\\d+)$)", is_regex=True)),
    ],
)
def test_a_path_is_a_template(path: str, expected: Template) -> None:
    assert parse_route_path(path, is_regex=path.startswith("~")) == expected


@pytest.mark.parametrize("path", ["~/a(?=b)", "~/a|/b", "~a$", "a", "/a b", "/é"])
def test_a_path_that_is_no_template_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        parse_route_path(path, is_regex=path.startswith("~"))


@pytest.mark.parametrize(
    ("route", "context", "path", "rewrite"),
    [
        ({"paths": ["/a"]}, "/a", "/*", None),
        ({"paths": ["/a"], "strip_path": False}, "/a", "/*", {"prefix": "/a"}),
        ({"paths": ["/"], "strip_path": False}, "/", "/*", None),
        ({"paths": ["/a:b"]}, "/", "/a:b/*", {"path": "/*"}),
        ({"paths": ["/a:b"], "strip_path": False}, "/", "/a:b/*", None),
        ({"paths": ["~/a/[^/]+$"]}, "/a", "/{p1}", {"path": "/"}),
        ({"paths": ["~/a/[^/]+"]}, "/a", "/{p1}/*", {"path": "/*"}),
        ({"paths": ["~/a/[^/]+$"], "strip_path": False}, "/a", "/{p1}", {"prefix": "/a"}),
        ({"paths": ["/a"], "hosts": ["x.example"], "preserve_host": True}, "/a", "/*", {"host": "x.example"}),
    ],
)
def test_the_path_upstream_is_that_of_kong(route: JsonObject, context: str, path: str, rewrite: JsonObject) -> None:
    (api,) = import_route(**route)
    (operation,) = api["spec"]["operations"]
    assert (api["spec"]["context"], operation["path"], operation.get("rewrite")) == (context, path, rewrite)


def routes(*described: JsonObject) -> JsonObject:
    """A document with a service for each route, named by its position."""
    services = [
        {
            "name": f"s{number}",
            "url": f"http://s{number}.example",
            "retries": 0,
            "routes": [{"name": f"r{number}", **route}],
        }
        for number, route in enumerate(described)
    ]
    return {"services": services}


def table(*described: JsonObject) -> dict[str, list[str]]:
    """The operations of each context on each host: method, path, headers, and the service."""
    found = {}
    for api in apis_of(import_document(routes(*described))):
        spec = api["spec"]
        pools = {name: pool["url"].split("/")[2].split(".")[0] for name, pool in spec["upstream"].items()}
        lines = []
        for operation in spec["operations"]:
            headers = "".join(f" [{match['name']}]" for match in operation.get("headers", ()))
            pool = pools[operation.get("upstream", "main")]
            lines.append(f"{operation['method']} {operation['path']}{headers} {pool}")
        found[f"{','.join(spec.get('hosts', ['*']))}{spec['context']}"] = lines
    return found


def test_a_route_behind_another_one_has_its_operations_too() -> None:
    """POST /a is not of the first route, and so of the second one."""
    found = table({"paths": ["/a"], "methods": ["PUT"]}, {"paths": ["/"]})
    assert found == {"*/": ["* /* s1"], "*/a": ["PUT /* s0", "* /* s1"]}


def test_a_host_is_tried_before_a_path() -> None:
    """One condition each: the route with a plain host comes first, even where the other's path is longer."""
    found = table({"paths": ["/a"]}, {"hosts": ["x.example"]})
    assert found == {"*/a": ["* /* s0"], "x.example/": ["* /* s1"], "x.example/a": ["* /* s1"]}


def test_more_conditions_are_tried_first() -> None:
    found = table({"hosts": ["x.example"]}, {"paths": ["/a"], "methods": ["PUT"]})
    assert found["x.example/a"] == ["PUT /* s1", "* /* s0"]


def test_an_expression_is_tried_before_a_prefix() -> None:
    found = table({"paths": ["/a/b"]}, {"paths": ["~/a/[^/]+$"]})
    assert found == {"*/a": ["* /{p1} s1"], "*/a/b": ["* / s1", "* /* s0"]}


def test_equal_routes_are_served_by_the_older_one() -> None:
    document = routes({"paths": ["/a"], "created_at": 2}, {"paths": ["/a"], "created_at": 1})
    imported = import_document(document)
    (api,) = apis_of(imported)
    assert api["spec"]["upstream"]["main"]["url"] == "http://s1.example:80"
    assert "services[0].routes[0]" in outcomes(imported, "left out")


def test_headers_come_before_methods() -> None:
    found = table({"paths": ["/a"], "methods": ["PUT"]}, {"paths": ["/a"], "headers": {"x-v": ["2"]}})
    assert found == {"*/a": ["PUT /* [x-v] s1", "PUT /* s0", "* /* [x-v] s1"]}


def test_an_order_that_an_api_cannot_have_is_reported() -> None:
    """Two expressions that meet in /a/b/c, where neither takes all paths of the other: here segments decide."""
    described: list[JsonObject] = [
        {"paths": ["~/[^/]+/b/[^/]+$"]},
        {"paths": ["~/[^/]+/[^/]+/c$"], "regex_priority": 9},
    ]
    imported = import_document(routes(*described))
    (entry,) = [entry for entry in imported.entries if entry.reason.startswith("order: ")]
    assert (entry.field, entry.outcome) == ("services[1].routes[0].paths", "changed")


def test_a_route_that_no_operation_can_choose_is_left_out() -> None:
    for condition in ({"snis": ["x.example"]}, {"sources": [{"ip": "10.0.0.0/8"}]}, {"protocols": ["tcp"]}):
        assert import_route(paths=["/a"], **condition) == []


def test_paths_of_the_format_before_3_are_expressions_by_their_characters() -> None:
    document = {"_format_version": "1.1", **routes({"paths": ["/a/\\d+"]}, {"paths": ["/b-1.2"]})}
    contexts = [
        (api["spec"]["context"], api["spec"]["operations"][0]["path"]) for api in apis_of(import_document(document))
    ]
    assert contexts == [("/a", "/{p1}/*"), ("/b-1.2", "/*")]
