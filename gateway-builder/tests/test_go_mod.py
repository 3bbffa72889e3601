"""What Go itself reads in a go.mod."""

from __future__ import annotations

from gatewright_builder.go_mod import Directive, go_of, module_of, read_go_mod, required, version_order, written


def test_go_mod_is_read_as_go_reads_it() -> None:
    content = (
        b'module "example.com/a" // why\n\nrequire(\n\t`b` v1.0.0// indirect\n)\nrequire c v1.2.0\nreplace c => ./c\n'
    )
    assert read_go_mod(content) == (
        Directive("module", ("example.com/a",), 1),
        Directive("require", ("b", "v1.0.0"), 4),
        Directive("require", ("c", "v1.2.0"), 6),
        Directive("replace", ("c", "=>", "./c"), 7),
    )


def test_versions_are_ordered_as_semver_orders_them() -> None:
    ordered = [
        "v0.0.0-20260101000000-abc",
        "v1.0.0-rc.2",
        "v1.0.0-rc.10",
        "v1.0.0",
        "v1.9.0",
        "v1.10.0",
        "v2.0.0+incompatible",
    ]
    assert sorted({*ordered}, key=version_order) == ordered


def test_what_a_module_says_of_itself() -> None:
    directives = read_go_mod(b"module example.com/a\ngo 1.26\nrequire b v1.0.0\nrequire (\n\tc v2.0.0\n)\n")
    assert (module_of(directives), go_of(directives)) == ("example.com/a", "1.26")
    assert required(directives) == {"b": "v1.0.0", "c": "v2.0.0"}
    nothing = read_go_mod(b"\xff module\n")
    assert (module_of(nothing), go_of(nothing), required(nothing)) == ("", "", {})


def test_what_is_written_is_read() -> None:
    for requires in ({}, {"b": "v1.0.0"}, {"b": "v1.0.0", "c": "v0.0.0"}):
        for go in ("", "1.26"):
            directives = read_go_mod(written("example.com/a", go, requires))
            assert (module_of(directives), go_of(directives), required(directives)) == ("example.com/a", go, requires)
