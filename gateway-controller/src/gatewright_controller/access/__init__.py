"""Who may do what: roles and their rights, the APIs that a grant is bound to, and who asks. Pure."""

from gatewright_controller.access.callers import (
    EVERYTHING,
    LOCAL,
    STRANGER,
    Caller,
    Grant,
    NotPermittedError,
    Permit,
)
from gatewright_controller.access.roles import BOUND, RIGHTS, ROLES, PersonRole, Right, Role
from gatewright_controller.access.scopes import EVERY_API, Scope
from gatewright_controller.access.tokens import PREFIX, Token, digest_of, new_text

__all__ = [
    "BOUND",
    "EVERYTHING",
    "EVERY_API",
    "LOCAL",
    "PREFIX",
    "RIGHTS",
    "ROLES",
    "STRANGER",
    "Caller",
    "Grant",
    "NotPermittedError",
    "Permit",
    "PersonRole",
    "Right",
    "Role",
    "Scope",
    "Token",
    "digest_of",
    "new_text",
]
