"""The Secrets of the controller that an API names: `{secretRef: NAME/KEY}` in parameters of its policies."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gatewright_documents.secret_references import named_secrets, split_reference
from gatewright_documents.values import JsonObject, KeyPath

from gatewright_controller.model import Api
from gatewright_controller.resource.versions import attachments


def secrets_in(params: JsonObject) -> Iterator[tuple[KeyPath, str, str]]:
    """Of parameters: where each stands, the Secret and the key."""
    for path, name in named_secrets(params):
        if (parts := split_reference(name)) is not None:
            yield path, *parts


def keys_by_secret(api: Api) -> dict[str, set[str]]:
    """The keys that the API names, by Secret."""
    found: dict[str, set[str]] = {}
    for _, attachment in attachments(api):
        for _, secret, key in secrets_in(attachment.params):
            found.setdefault(secret, set()).add(key)
    return found


def keys_of(secret: JsonObject) -> Collection[str]:
    """The keys of a Secret, of its document as it is kept or written."""
    return frozenset(secret["spec"]["values"])
