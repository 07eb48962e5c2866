"""Who is at the other end of a call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509

from clustermesh_apiserver.proxy.authz import Role, role_of

_CERTIFICATES = 4096  # read ones that are remembered: a call on an open connection costs no parsing
_PORT = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What of a client's certificate matters after the handshake. `pem`: it and what was sent with it."""

    serial: int
    begins: datetime
    expires: datetime
    pem: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """A client's role, its address with and without the port, and its certificate."""

    role: Role
    peer: str
    address: str
    certificate: Certificate


def caller_of(context: Any, cluster: str) -> Caller:
    """From the certificate that the TLS handshake has verified."""
    said = context.auth_context()
    names = tuple(name.decode("utf-8", "replace") for name in said.get("x509_common_name", ()))
    pem = b"".join((*said.get("x509_pem_cert", ()), *said.get("x509_pem_cert_chain", ())))
    peer: str = context.peer()
    return Caller(_role(names, cluster), peer, address_of(peer), read_certificate(pem))


def address_of(peer: str) -> str:
    """gRPC's name of a peer (ipv4:10.0.0.1:4711, ipv6:[fd00::1]:4711) without the port."""
    return _PORT.sub("", peer)


@lru_cache(_CERTIFICATES)
def _role(names: tuple[str, ...], cluster: str) -> Role:
    return role_of(names, cluster)


@lru_cache(_CERTIFICATES)
def read_certificate(pem: bytes) -> Certificate:
    leaf = x509.load_pem_x509_certificate(pem)
    return Certificate(leaf.serial_number, leaf.not_valid_before_utc, leaf.not_valid_after_utc, pem)
