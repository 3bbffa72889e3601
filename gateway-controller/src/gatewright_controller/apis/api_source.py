"""The document of an API that is sent together with others: mistakes in it are said with its file and line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml

from gatewright_controller import API_DOCUMENT


@dataclass(frozen=True)
class ApiSource:
    """file: as the sender calls it; JSON where it ends in .json, else YAML. line: of the file, in which the text
    begins. values: of a Secret, those that it takes from files.
    """

    file: str
    text: bytes
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    line: int = 1

    def read(self) -> JsonObject:
        """The document. Raises `Invalid` where there is none."""
        parse = parse_json if self.file.endswith(".json") else parse_yaml
        try:
            document = parse(self.text, API_DOCUMENT)
        except Invalid as invalid:
            raise self._located(invalid, lambda _: 0) from None
        document.pop("status", None)  # the controller's own
        return document

    @contextlib.contextmanager
    def locating(self) -> Iterator[None]:
        """Mistakes that the body raises get this file, and the lines of their fields."""
        try:
            yield
        except Invalid as invalid:
            raise self._located(invalid, line_tree(self.text).line_of) from None

    def _located(self, invalid: Invalid, line_of: Callable[[str], int]) -> Invalid:
        return Invalid([self._with_place(mistake) for mistake in invalid.located(line_of).mistakes])

    def _with_place(self, mistake: Mistake) -> Mistake:
        place = f"{self.file}:{self.line - 1 + mistake.line}" if mistake.line else self.file
        return replace(mistake, file=place, line=0)
