"""Who is at the other end of a call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

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
class Peer:
    """What a connection tells of its client. `pem`: its certificate and what was sent with it."""

    address: str
    pem: bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """A client's role, its address with and without the port, and its certificate."""

    role: Role
    peer: str
    address: str
    certificate: Certificate


def caller_of(peer: Peer, cluster: str) -> Caller:
    """From the certificate that the TLS handshake has verified. Raises ValueError."""
    return Caller(
        _role(peer.pem, cluster), peer.address, address_of(peer.address), read_certificate(peer.pem)
    )


def address_of(peer: str) -> str:
    """A peer's name as gRPC writes it (ipv4:10.0.0.1:4711, ipv6:[fd00::1]:4711), without the port."""
    return _PORT.sub("", peer)


@lru_cache(_CERTIFICATES)
def _role(pem: bytes, cluster: str) -> Role:
    subject = x509.load_pem_x509_certificate(pem).subject
    return role_of([str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)], cluster)


@lru_cache(_CERTIFICATES)
def read_certificate(pem: bytes) -> Certificate:
    leaf = x509.load_pem_x509_certificate(pem)
    return Certificate(leaf.serial_number, leaf.not_valid_before_utc, leaf.not_valid_after_utc, pem)
