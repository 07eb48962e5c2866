"""Which certificates a cluster's own authority signed, among all that it accepts. Pure.

Whoever accepts another cluster's authority accepts whatever that one signs, under any name. The names of this
cluster's own clients therefore count only below its own authority: the one that signed the server's leaf,
and those that the server's Secret names in `own-ca.crt` while one replaces the other. Only a direct signature
counts: below a common root, what another cluster's intermediate signed ends in the same root.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature

OWN = "own-ca.crt"  # beside tls.crt, tls.key and ca.crt, in the server's Secret; may be absent


def signers(leaf: x509.Certificate, candidates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Those of `candidates` whose key signed `leaf`."""
    return tuple(each for each in dict.fromkeys(candidates) if _signed(leaf, each))


def is_own(pem: bytes, own: Sequence[x509.Certificate]) -> bool:
    """Whether one of `own` signed the first certificate of `pem`. Raises ValueError when it is none."""
    return bool(signers(x509.load_pem_x509_certificate(pem), own))


def _signed(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    """By the signature: what a leaf says of its signer (its authority key identifier) anybody can write."""
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
