"""People who come with a JWT of an OpenID provider, instead of a token of this controller (decision 78).

What verifies a JWT and what asks the provider is imported where OIDC is configured, by `people`.
"""

from gatewright_controller.oidc.contract import (
    LoggedIn,
    LoginPlace,
    NotSignedInError,
    People,
    ProviderAnswer,
    ProviderAwayError,
)
from gatewright_controller.oidc.settings import ClaimGrant, Oidc

__all__ = [
    "ClaimGrant",
    "LoggedIn",
    "LoginPlace",
    "NotSignedInError",
    "Oidc",
    "People",
    "ProviderAnswer",
    "ProviderAwayError",
]
