"""A leaf once more: the same subject, names and uses, with a new key and new life. Pure.

Works on the data of kubernetes.io/tls Secrets: tls.crt, tls.key, ca.crt. Renewing never changes who signs:
whoever accepted the leaf before accepts it after. Another signer is a rotation's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import bundle
from certs.check import load_chain
from certs.errors import CertificateError, MaterialError
from certs.issue import VALIDITY, Authority
from certs.profile import Profile
from certs.renew import Life, is_due

CERTIFICATE, KEY, TRUST = "tls.crt", "tls.key", "ca.crt"
Data = Mapping[str, bytes]


def renewed(
    data: Data,
    authority: Authority,
    now: datetime,
    *,
    force: bool = False,
    validity: timedelta = VALIDITY,
) -> Data | None:
    """The Secret's data with a new leaf; None when it is not due. Raises CertificateError."""
    leaf = leaf_of(data)
    if signer(leaf) != bundle.key_id(authority.certificate):
        raise CertificateError("not signed by this cluster's authority: whoever issued it must renew it")
    life = life_of(leaf)
    ends = authority.ends
    if now >= ends:
        raise CertificateError(f"the authority expired at {ends.isoformat()}: it must be replaced first")
    if not force and not is_due(life, now, authority_ends=ends, validity=validity):
        return None
    return signed_by(authority, data, now, validity=validity)


def signed_by(authority: Authority, data: Data, now: datetime, *, validity: timedelta = VALIDITY) -> Data:
    """The Secret's data with the same leaf signed anew. Who is accepted stays. Raises MaterialError."""
    issued = authority.issue(profile_of(leaf_of(data)), now, validity=validity)
    return {**data, CERTIFICATE: issued.certificate_pem, KEY: issued.key_pem}


def renamed(
    wanted: Profile, authority: Authority, data: Data, now: datetime, *, validity: timedelta = VALIDITY
) -> Data:
    """The Secret's data with a leaf for `wanted`. Who is accepted stays."""
    issued = authority.issue(wanted, now, validity=validity)
    return {**data, CERTIFICATE: issued.certificate_pem, KEY: issued.key_pem}


def leaf_of(data: Data) -> x509.Certificate:
    """Raises MaterialError."""
    if CERTIFICATE not in data:
        raise MaterialError(f"there is no {CERTIFICATE}")
    return load_chain(data[CERTIFICATE])[0]


def life_of(certificate: x509.Certificate) -> Life:
    return Life(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def signer(leaf: x509.Certificate) -> bytes:
    """The key identifier of the authority that signed it; empty where the leaf does not say."""
    try:
        identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return b""
    return identifier.key_identifier or b""


def profile_of(leaf: x509.Certificate) -> Profile:
    """What the leaf is for. Raises MaterialError when it has no common name."""
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        raise MaterialError("the certificate has no common name")
    usages = _usages(leaf)
    dns, addresses = _alternative_names(leaf)
    return Profile(
        str(names[0].value),
        dns_names=dns,
        ip_addresses=addresses,
        server=ExtendedKeyUsageOID.SERVER_AUTH in usages,
        client=ExtendedKeyUsageOID.CLIENT_AUTH in usages,
    )


def _usages(leaf: x509.Certificate) -> list[x509.ObjectIdentifier]:
    try:
        return list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:  # no restriction stated
        return [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def _alternative_names(leaf: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(map(str, addresses))
