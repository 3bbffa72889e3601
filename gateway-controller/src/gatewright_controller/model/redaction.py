"""What is secret, by name: one list for recordings, log lines, metrics, spans and the access log."""

from __future__ import annotations

from typing import Annotated

import msgspec
from gatewright_documents.strict import expecting
from msgspec import Meta

from gatewright_controller._gen import envoy_names
from gatewright_controller.model.common import Strict, doc

SecretName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.-]{1,100}\*?$",
        extra_json_schema=expecting("a name such as 'x-partner-key', or the beginning of names and '*'"),
    ),
]
SecretNames = list[SecretName]

DEFAULT_HEADERS = (
    "authorization", "proxy-authorization", "cookie", "set-cookie", "cookie2", "set-cookie2", "dpop",
    "x-api-key", "api-key", "apikey", "x-api-secret", "x-api-token", "x-auth", "x-auth-key", "x-auth-token",
    "x-access-token", "x-refresh-token", "x-id-token", "x-session-token", "x-client-secret", "x-secret*",
    "x-csrf-token", "csrf-token", "x-xsrf-token", "x-amz-security-token", "x-amz-content-sha256",
    "x-goog-api-key", "x-goog-iap-jwt-assertion", "x-jwt-assertion", "x-functions-key", "ocp-apim-subscription-key",
    "x-vault-token", "private-token", "job-token", "x-gitlab-token", "x-hub-signature*", "x-signature", "x-password",
    "x-cache-purge", "x-forwarded-access-token", "x-auth-request-access-token",
    envoy_names.TRACE_TOKEN_HEADER,
)  # fmt: skip
DEFAULT_PARAMETERS = (
    "token", "access_token", "id_token", "refresh_token", "auth_token", "csrf_token", "session_token", "id_token_hint",
    "logout_token", "api_key", "key", "subscription_key", "password*", "passwd", "passphrase", "pwd", "secret*",
    "client_secret", "client_assertion", "assertion", "authorization", "auth", "credential*", "code", "code_verifier",
    "device_code", "jwt", "otp", "session", "session_id", "sid", "sig", "signature", "hmac", "private_key",
    "saml_request", "saml_response", "x_amz_signature", "x_amz_credential", "x_amz_security_token",
    "x_goog_signature", "x_goog_credential",
)  # fmt: skip
DEFAULT_FIELDS = (
    "token", "access_token", "id_token", "refresh_token", "auth_token", "bearer_token", "csrf_token", "session_token",
    "api_key", "api_secret", "api_token", "x_api_key", "apikey", "secret_key", "access_key", "private_key",
    "password*", "passwd", "passphrase", "pwd", "old_password", "new_password", "current_password", "user_password",
    "db_password", "secret*", "client_secret", "client_assertion", "assertion", "authorization",
    "proxy_authorization", "cookie", "cookies", "set_cookie", "credential*", "code_verifier", "device_code", "jwt",
    "otp", "session_id", "signature",
)  # fmt: skip


class RedactionDefaults(Strict, frozen=True):
    """What is secret without being named. A list that is written here takes the place of the gateway's own."""

    headers: Annotated[SecretNames, doc("Names of headers.", max_length=1000)] = msgspec.field(
        default_factory=lambda: list(DEFAULT_HEADERS)
    )
    query_parameters: Annotated[SecretNames, doc("Names of parameters in queries.", max_length=1000)] = msgspec.field(
        default_factory=lambda: list(DEFAULT_PARAMETERS)
    )
    fields: Annotated[SecretNames, doc("Names in JSON, XML, forms and metadata.", max_length=1000)] = msgspec.field(
        default_factory=lambda: list(DEFAULT_FIELDS)
    )


class Redaction(Strict, frozen=True):
    """Names whose values are secrets. Upper and lower case are the same, and so is a name with or without - and _."""

    headers: Annotated[
        SecretNames,
        doc("Names of headers, besides `defaults.headers`. A * at the end of a name is any rest.", max_length=1000),
    ] = msgspec.field(default_factory=list)
    query_parameters: Annotated[
        SecretNames,
        doc("Names of parameters in queries and forms, besides `defaults.queryParameters`.", max_length=1000),
    ] = msgspec.field(default_factory=list)
    fields: Annotated[
        SecretNames,
        doc(
            "Names in JSON, XML, forms and metadata, at any depth, besides `defaults.fields`. With a name goes all "
            "that is its value.",
            max_length=1000,
        ),
    ] = msgspec.field(default_factory=list)
    defaults: Annotated[
        RedactionDefaults, doc("What is secret without being named. A list written here takes its place.")
    ] = msgspec.field(default_factory=RedactionDefaults)

    @property
    def all_headers(self) -> list[str]:
        """In lower case, in order, each once."""
        return _joined(self.defaults.headers, self.headers)

    @property
    def all_query_parameters(self) -> list[str]:
        """In lower case, in order, each once."""
        return _joined(self.defaults.query_parameters, self.query_parameters)

    @property
    def all_fields(self) -> list[str]:
        """In lower case, in order, each once."""
        return _joined(self.defaults.fields, self.fields)


def _joined(defaults: list[str], added: list[str]) -> list[str]:
    return list(dict.fromkeys(name.lower() for name in (*defaults, *added)))
