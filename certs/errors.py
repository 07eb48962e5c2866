"""What can be wrong with certificates."""

from __future__ import annotations


class CertificateError(Exception):
    """Base of every error this package raises."""


class MaterialError(CertificateError):
    """A certificate or key cannot be read, or the two do not belong together."""
