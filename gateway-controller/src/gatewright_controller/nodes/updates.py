"""What nodes are sent next, and its message: nodes that lack the same share one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import msgspec

from gatewright_controller._gen import node_pb2
from gatewright_controller.translate import Bundle

SHARED_BYTES = 8 * 1024 * 1024
"""That messages may take which are kept for further nodes; the newest is kept whatever its size."""
LENGTH_DELIMITED = 2
"""The wire type of messages: https://protobuf.dev/programming-guides/encoding/."""


class Step(msgspec.Struct, frozen=True):
    """What a node lacks, as far as one message holds it. The messages of bundles stay compressed until it is sent."""

    revision: int
    bundles: tuple[Bundle, ...] = ()
    removed: tuple[str, ...] = ()
    gateway: node_pb2.Gateway | None = None
    secrets: tuple[node_pb2.SecretValues, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the node lacks nothing."""
        return not (self.bundles or self.removed or self.gateway or self.secrets)

    @property
    def message(self) -> node_pb2.Update:
        """It is made anew each time."""
        update = self._without_bundles()
        update.bundles.extend(bundle.message for bundle in self.bundles)
        return update

    def encoded(self) -> bytes:
        """The serialized `ControllerMessage`. The messages of bundles are put into it as they are."""
        number = node_pb2.Update.BUNDLES_FIELD_NUMBER
        bundles = (part for bundle in self.bundles for part in _field(number, bundle.serialized))
        update = b"".join((self._without_bundles().SerializeToString(), *bundles))
        return b"".join(_field(node_pb2.ControllerMessage.UPDATE_FIELD_NUMBER, update))

    def _without_bundles(self) -> node_pb2.Update:
        return node_pb2.Update(
            revision=self.revision, removed_apis=self.removed, gateway=self.gateway, secrets=self.secrets
        )

    @property
    def key(self) -> Hashable:
        """Equal for steps without Secrets that have the same message."""
        bundles = tuple((bundle.api, bundle.digest) for bundle in self.bundles)
        return self.revision, bundles, self.removed, self.gateway and self.gateway.digest


class SharedMessages:
    """Messages that further nodes may be sent as well: a change that a hundred nodes get is serialized once."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, bytes] = {}

    def of(self, step: Step) -> bytes:
        """The step's message. One with values of Secrets is kept for no other node."""
        if step.secrets:
            return step.encoded()
        message = self._kept.pop(step.key, None) or step.encoded()
        self._kept[step.key] = message  # behind the others
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > SHARED_BYTES:
            del self._kept[next(iter(self._kept))]
        return message


def _field(number: int, content: bytes) -> Iterator[bytes]:
    """A field of a message on the wire."""
    yield _varint(number << 3 | LENGTH_DELIMITED)
    yield _varint(len(content))
    yield content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
