"""Trust bundles: the authorities that one side accepts; several while one replaces another.

Authorities are compared by subject key identifier, so the same key re-signed counts as the same.
Pure: PEM in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.errors import MaterialError


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """At least one authority, in the order given, without doubles."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def key_ids(self) -> frozenset[bytes]:
        """Who is trusted."""
        return frozenset(key_id(certificate) for certificate in self.certificates)

    @property
    def pem(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.certificates)

    def trusts_all_of(self, other: TrustBundle) -> bool:
        """Whether everything that `other` accepts is accepted here too."""
        return other.key_ids <= self.key_ids


def parse(pem: bytes) -> TrustBundle:
    """Read a bundle. Raises MaterialError when it is empty, unreadable, or holds a leaf."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise MaterialError("the trust bundle is not a list of PEM certificates") from error
    for certificate in certificates:
        if not _is_authority(certificate):
            raise MaterialError(f"{certificate.subject.rfc4514_string()} is not an authority's certificate")
    return _distinct(certificates)


def merge(bundles: Iterable[TrustBundle]) -> TrustBundle:
    """Accept whoever any of `bundles` accepts."""
    return _distinct(certificate for bundle in bundles for certificate in bundle.certificates)


def anchors(bundle: TrustBundle) -> TrustBundle:
    """The roots among them: what TLS libraries end a chain with. All where there is no root."""
    roots = tuple(each for each in bundle.certificates if is_root(each))
    return TrustBundle(roots) if roots else bundle


def is_root(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def key_id(certificate: x509.Certificate) -> bytes:
    """The subject key identifier; computed where the certificate does not state it."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _distinct(certificates: Iterable[x509.Certificate]) -> TrustBundle:
    # The same key may be there twice, re-signed with a longer life: both stay, doubles do not.
    return TrustBundle(tuple(dict.fromkeys(certificates)))
