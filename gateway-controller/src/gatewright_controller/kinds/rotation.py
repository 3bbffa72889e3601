"""Rotation: all Secrets, past ones too, are encrypted by the first key, so that the others can go."""

from __future__ import annotations

import asyncio

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.kinds.keyring import NO_KEY_CURE
from gatewright_controller.kinds.secret_kind import SecretKind
from gatewright_controller.store import SECRET, Store, name_in
from gatewright_controller.store.finished import finished


class Rotation(msgspec.Struct, frozen=True):
    """key: the id of the first key. rewritten, left: documents that were encrypted by it, and that were not touched.
    unreadable: names of Secrets with a value that no key decrypts."""

    key: str
    rewritten: int
    left: int
    unreadable: list[str]


async def rotate(store: Store, secrets: SecretKind) -> Rotation:
    """Idempotent; where it ends early, what was done stays, and another call goes on. Raises `Invalid`: there is no
    key."""
    return await finished(asyncio.to_thread(_rotate, store, secrets))


def _rotate(store: Store, secrets: SecretKind) -> Rotation:
    keyring = secrets.keyring
    keyring.reread()
    if not keyring:
        expected = "a controller with a key that encrypts Secrets"
        raise Invalid([Mistake.expecting(expected, "one without", NO_KEY_CURE, field="secretKey")])
    unreadable: set[str] = set()

    def rewritten(document: JsonObject) -> JsonObject:
        again = secrets.reencrypted(document)
        if not secrets.is_newest(again):
            unreadable.add(name_in(document))
        return again

    done = store.rewrite(SECRET, rewritten)
    return Rotation(keyring.newest_id, done.rewritten, done.left, sorted(unreadable))
