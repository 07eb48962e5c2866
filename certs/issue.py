"""Issue the mesh's certificates: an authority, or a root and an authority for each cluster, and leaves.

Promises: ECDSA P-256 keys, extensions as RFC 5280 wants them (`openssl verify -x509_strict`), and
that no leaf outlives its authority. Time is passed in. Does not store anything, does not revoke:
short lives and renewal do that job.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import bundle
from certs.bundle import TrustBundle
from certs.errors import MaterialError
from certs.profile import Profile

VALIDITY = timedelta(days=1095)  # what Cilium's own certificate jobs use
BACKDATE = timedelta(minutes=5)  # peers' clocks differ; a fresh certificate must be valid at once
_AUTHORITY_NAME = "Cilium CA"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, as PEM. The key stays out of every printed form."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that can sign. `chain`: who signed it, up to its root; empty for a root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @classmethod
    def create(
        cls,
        now: datetime,
        *,
        name: str = _AUTHORITY_NAME,
        validity: timedelta = VALIDITY,
        signs_authorities: bool = False,
    ) -> Self:
        """A new, self-signed authority: for leaves, or a root for the authorities of clusters."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        builder = _builder(subject, subject, key, now, now + validity)
        builder = _as_authority(builder, key, path_length=1 if signs_authorities else 0)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def create_intermediate(self, name: str, now: datetime, *, validity: timedelta = VALIDITY) -> Authority:
        """An authority for leaves, signed by this one. Raises MaterialError if this one signs only leaves."""
        limit = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if limit == 0:
            raise MaterialError(
                "this authority may sign certificates but no other authority: make a root with "
                "'clustermesh certs root'"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + validity, self.certificate.not_valid_after_utc)
        builder = _builder(_subject(name), self.certificate.subject, key, now, not_after)
        builder = _as_authority(builder, key, path_length=0)
        builder = builder.add_extension(_authority_key_identifier(self.certificate), critical=False)
        return Authority(builder.sign(self.key, hashes.SHA256()), key, (self.certificate, *self.chain))

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Self:
        """Read an authority back: its certificate, and of an intermediate its chain. Raises MaterialError."""
        try:
            certificate, *others = x509.load_pem_x509_certificates(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError) as error:
            raise MaterialError("the authority's certificate or key cannot be read") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise MaterialError("the authority's key is not an elliptic-curve key")
        if key.public_key() != certificate.public_key():
            raise MaterialError("the authority's key does not belong to its certificate")
        return cls(certificate, key, tuple(_signers(certificate, others)))

    @property
    def issued(self) -> Issued:
        """The authority itself, for storing: keep the key out of reach."""
        return Issued(_certificates_pem(self.certificate, *self.chain), _key_pem(self.key))

    @property
    def anchors(self) -> TrustBundle:
        """Whom others must accept so that they accept what this authority signs."""
        return bundle.anchors(TrustBundle((self.certificate, *self.chain)))

    @property
    def ends(self) -> datetime:
        """When the first of the chain expires: nothing that it signs is good for longer."""
        return min(each.not_valid_after_utc for each in (self.certificate, *self.chain))

    def issue(self, profile: Profile, now: datetime, *, validity: timedelta = VALIDITY) -> Issued:
        """A new key, and a certificate for it that this authority signs; then the chain below the root."""
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + validity, self.ends)
        issuer = self.certificate
        builder = (
            _builder(_subject(profile.common_name), issuer.subject, key, now, not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(_extended_key_usage(profile), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_authority_key_identifier(issuer), critical=False)
        )
        if names := _alternative_names(profile):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        leaf = builder.sign(self.key, hashes.SHA256())
        between = [each for each in (self.certificate, *self.chain) if not bundle.is_root(each)]
        return Issued(_certificates_pem(leaf, *between), _key_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
    )


def _signers(certificate: x509.Certificate, others: list[x509.Certificate]) -> Iterator[x509.Certificate]:
    """Who signed `certificate`, who signed that one, up to a root. What else was in the file is left out."""
    while not bundle.is_root(certificate):
        signer = next((each for each in others if each.subject == certificate.issuer), None)
        if signer is None:
            return
        yield signer
        others = [each for each in others if each is not signer]
        certificate = signer


def _as_authority(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, *, path_length: int
) -> x509.CertificateBuilder:
    skid = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(skid, critical=False)
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,  # meaningless for elliptic curves
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _extended_key_usage(profile: Profile) -> x509.ExtendedKeyUsage:
    usages = []
    if profile.server:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    if profile.client:
        usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    return x509.ExtendedKeyUsage(usages)


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    # From the issuer's own identifier where it has one: an authority made by another tool may have
    # computed it otherwise, and strict verifiers compare the bytes.
    try:
        skid = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        skid_value = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    else:
        skid_value = skid.value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(skid_value)


def _alternative_names(profile: Profile) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in profile.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in profile.ip_addresses]
    return names


def _certificates_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
