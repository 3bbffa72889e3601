"""The management API's /v1/secret-keys: the keys that encrypt Secrets."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.kinds import SecretKind
from gatewright_controller.kinds.rotation import Rotation, rotate
from gatewright_controller.management.json_answer import JsonAnswer, shaped
from gatewright_controller.management.rows import Answer, Part, Row
from gatewright_controller.management.shapes import secrets as shapes
from gatewright_controller.store import Store


class SecretKeyEndpoints:
    """The keys are the operator's; clients learn no more of them than their ids."""

    def __init__(self, store: Store, secrets: SecretKind) -> None:
        self._store, self._secrets = store, secrets

    async def rotate(self, _: Request) -> Response:
        """How many values are encrypted by the first key now; what was done stays done where it ends early."""
        rotation: Rotation = await rotate(self._store, self._secrets)
        return JsonAnswer(shaped(shapes.SecretRotation, rotation))


PART = Part(
    "Keys of Secrets",
    SecretKeyEndpoints,
    (
        Row(
            "rotateSecretKeys",
            "POST",
            "/v1/secret-keys/rotation",
            SecretKeyEndpoints.rotate,
            "secret-keys:write",
            "Reads the file of keys again, and encrypts all Secrets and their history by its first key.",
            {200: Answer("What was done.", (shapes.SecretRotation,))},
            refusals=(422, 503, 507),
            audit="all",
        ),
    ),
)
