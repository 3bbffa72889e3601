from pathlib import Path

from gatewright_cli.sources import at_the_source

from cli.tests.outputs import policy, write_output


def test_paths_of_copies_are_those_of_the_files_that_people_write(tmp_path: Path) -> None:
    build = write_output(tmp_path, policy("add-header", "v1.2.0"), policy("add-header", "v1.2.1", source="p/newer"))
    text = f"KeyError: 'x' ({build.executor}/policies/add_header_v1_2_1/policy.py:7), {build.executor}/main.py:1"
    assert at_the_source(build, text) == f"KeyError: 'x' (p/newer/policy.py:7), {build.executor}/main.py:1"
