"""What a new node would be sent now, as a file that a node starts from without a controller: its format, the keys that
sign and check it, and the places that it is written to."""

from gatewright_controller.signed_state.document import (
    MAGIC,
    MOST_BYTES,
    Authority,
    Head,
    SignedStateError,
    SigningKey,
    read_head,
    sign,
    verify,
)
from gatewright_controller.signed_state.keys import authority, make_key, signing_key
from gatewright_controller.signed_state.places import NotWrittenError, place_mistake, shown, write

__all__ = [
    "MAGIC",
    "MOST_BYTES",
    "Authority",
    "Head",
    "NotWrittenError",
    "SignedStateError",
    "SigningKey",
    "authority",
    "make_key",
    "place_mistake",
    "read_head",
    "shown",
    "sign",
    "signing_key",
    "verify",
    "write",
]
