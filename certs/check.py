"""What is wrong with a certificate, in words that an operator can act on. Pure: the time is passed in.

Every check that fails is reported, not only the first. This explains failures and refuses bad files
before they are used; the handshake itself is verified by the TLS library, never by this.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from certs.bundle import TrustBundle
from certs.errors import MaterialError

_MAX_CHAIN_DEPTH = 4


class Purpose(Enum):
    """What a leaf is to be used for."""

    SERVER = "server"
    CLIENT = "client"


class Problem(Enum):
    """A reason not to use a certificate."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    WRONG_USE = "not made for this use"
    WRONG_NAME = "does not carry the name"
    UNTRUSTED = "not signed by a trusted authority"


@dataclass(frozen=True, slots=True)
class Finding:
    problem: Problem
    text: str


_USAGE = {Purpose.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, Purpose.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH}


def check(
    certificate_pem: bytes,
    bundle: TrustBundle,
    *,
    purpose: Purpose,
    now: datetime,
    name: str = "",
) -> list[Finding]:
    """Everything that speaks against using the leaf; `name` is a DNS name or address, if one matters.

    Raises MaterialError when the certificate cannot be read.
    """
    leaf, *intermediates = load_chain(certificate_pem)
    findings = [*_validity(leaf, now), *_use(leaf, purpose)]
    if name and not carries_name(leaf, name):
        findings.append(Finding(Problem.WRONG_NAME, f"the certificate does not carry the name {name}"))
    findings += _chain(leaf, intermediates, bundle, now)
    return findings


def load_chain(pem: bytes) -> list[x509.Certificate]:
    """The leaf, then its intermediates. Raises MaterialError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise MaterialError("not a PEM certificate") from error


def require_pair(certificate_pem: bytes, key_pem: bytes) -> None:
    """Raise MaterialError unless the key belongs to the (first) certificate."""
    leaf = load_chain(certificate_pem)[0]
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise MaterialError("not a PEM private key") from error
    if key.public_key() != leaf.public_key():
        raise MaterialError("the private key does not belong to the certificate")


def carries_name(leaf: x509.Certificate, name: str) -> bool:
    """Whether a client that dialled `name` accepts this certificate. The common name does not count."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return any(_matches(pattern, name) for pattern in names.get_values_for_type(x509.DNSName))
    return address in names.get_values_for_type(x509.IPAddress)


def _matches(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower().removesuffix(".")
    if not pattern.startswith("*."):
        return pattern == name
    first, _, rest = name.partition(".")  # a wildcard stands for exactly one label
    return bool(first) and rest == pattern[2:]


def _validity(leaf: x509.Certificate, now: datetime) -> list[Finding]:
    if now > leaf.not_valid_after_utc:
        return [
            Finding(Problem.EXPIRED, f"the certificate expired at {leaf.not_valid_after_utc.isoformat()}")
        ]
    if now < leaf.not_valid_before_utc:
        text = f"the certificate is not valid before {leaf.not_valid_before_utc.isoformat()}"
        return [Finding(Problem.NOT_YET_VALID, text)]
    return []


def _use(leaf: x509.Certificate, purpose: Purpose) -> list[Finding]:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []  # no restriction stated
    if _USAGE[purpose] in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        return []
    return [Finding(Problem.WRONG_USE, f"the certificate is not made for use by a {purpose.value}")]


def _chain(
    leaf: x509.Certificate, intermediates: list[x509.Certificate], bundle: TrustBundle, now: datetime
) -> list[Finding]:
    # Only the chain is asked here, at a moment when the leaf is valid: its own life has been judged.
    moment = min(max(now, leaf.not_valid_before_utc), leaf.not_valid_after_utc)
    # Authorities made by other tools lack this or that extension that the public web asks for.
    authorities = ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, _require_authority
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.certificates)))
        .time(moment)
        .max_chain_depth(_MAX_CHAIN_DEPTH)
        .extension_policies(ee_policy=ExtensionPolicy.permit_all(), ca_policy=authorities)
        .build_client_verifier()
    )
    try:
        verifier.verify(leaf, intermediates)
    except VerificationError:
        issuer = leaf.issuer.rfc4514_string()
        return [Finding(Problem.UNTRUSTED, f"no valid chain from the issuer {issuer} to the trust bundle")]
    return []


def _require_authority(
    _policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints
) -> None:
    if not constraints.ca:
        raise ValueError("not an authority")
