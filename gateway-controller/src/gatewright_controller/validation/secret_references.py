"""The Secrets that an API names are there, with the keys that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from gatewright_documents.mistake import Mistake, format_path

from gatewright_controller.resource.secret_keys import secrets_in
from gatewright_controller.validation.draft import Draft

SecretKeys = Callable[[str], Collection[str] | None]
"""The keys of the Secret of this name; None where there is none."""


def check_secrets(draft: Draft, keys_of: SecretKeys) -> Iterator[Mistake]:
    """Each mistake with the command that makes the Secret or the key."""
    policies = [*draft.policies, *(policy for operation in draft.operations for policy in operation.policies)]
    for policy in policies:
        if not policy.readable or policy.attachment is None:
            continue
        for path, secret, key in secrets_in(policy.attachment.params):
            field, keys = format_path([*path, "secretRef"], f"{policy.field}.params"), keys_of(secret)
            cure = f"write it first: `gatewright secret set {secret} {key}=@FILE`, or apply both together"
            if keys is None:
                yield Mistake.expecting(f"a Secret {secret!r}", "none", cure, field=field)
            elif key not in keys:
                yield Mistake.expecting(f"a key {key!r} in the Secret {secret!r}", "none", cure, field=field)
