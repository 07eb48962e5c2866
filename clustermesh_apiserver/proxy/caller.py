"""Who is at the other end of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clustermesh_apiserver.proxy.authz import Role, role_of


@dataclass(frozen=True, slots=True)
class Caller:
    """A client's role and its address, for the audit log."""

    role: Role
    peer: str


def caller_of(context: Any, cluster: str) -> Caller:
    """From the certificate that the TLS handshake has verified."""
    names = context.auth_context().get("x509_common_name", ())
    return Caller(role_of([name.decode("utf-8", "replace") for name in names], cluster), context.peer())
