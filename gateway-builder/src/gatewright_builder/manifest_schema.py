"""build.yaml as a JSON Schema for editors, made of the structs that it is read into."""

from __future__ import annotations

from gatewright_documents.editor_schema import editor_schema
from gatewright_documents.values import JsonObject

from gatewright_builder.manifest import EntryFields, ManifestFields
from gatewright_builder.origin import NAMED, Kind


def manifest_schema() -> JsonObject:
    """The schema of a build.yaml, for editors."""
    schema, entry = editor_schema(ManifestFields, "build.yaml"), editor_schema(EntryFields, "")["$defs"]["EntryFields"]
    entry["allOf"] = [
        {"not": {"required": [name, other]}}
        for index, name in enumerate(NAMED)
        for other in NAMED[index + 1 :]
    ]  # fmt: skip
    entry["dependentRequired"] = {"replace": [str(Kind.GO_MODULE)]}
    schema["$defs"]["EntryFields"] = entry
    schema["$defs"]["ManifestFields"]["properties"]["policies"]["items"] = {"$ref": "#/$defs/EntryFields"}
    return schema
