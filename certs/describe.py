"""A certificate in words: what tells one from another, and how long it is valid. Pure."""

from __future__ import annotations

from cryptography import x509


def lines(certificate: x509.Certificate) -> list[str]:
    found = [
        f"Serial number: {certificate.serial_number:x}",
        f"Subject: {certificate.subject.rfc4514_string() or '-'}",
        f"Issuer: {certificate.issuer.rfc4514_string() or '-'}",
        f"Not before: {certificate.not_valid_before_utc.isoformat()}",
        f"Not after: {certificate.not_valid_after_utc.isoformat()}",
    ]
    carried = names(certificate)
    return [*found, f"Names: {', '.join(carried)}"] if carried else found


def names(certificate: x509.Certificate) -> list[str]:
    """DNS names and addresses that it is good for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    dns = extension.value.get_values_for_type(x509.DNSName)
    return [*dns, *map(str, extension.value.get_values_for_type(x509.IPAddress))]
