"""Who signed a client's certificate, and that nothing but the signature tells."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certs import own, profile
from certs.issue import Authority

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OURS, THEIRS = Authority.create(NOW), Authority.create(NOW)  # of one name, as every cluster's are


def test_the_signature_counts_and_not_what_the_leaf_says_of_its_signer() -> None:
    issued = THEIRS.issue(profile.local("east"), NOW)
    leaf = x509.load_pem_x509_certificate(issued.certificate_pem)
    forged = x509.CertificateBuilder(
        subject_name=leaf.subject,
        issuer_name=OURS.certificate.subject,
        public_key=leaf.public_key(),
        serial_number=7,
        not_valid_before=leaf.not_valid_before_utc,
        not_valid_after=leaf.not_valid_after_utc,
    ).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(OURS.certificate.public_key()), critical=False
    )
    signed = forged.sign(THEIRS.key, hashes.SHA256())
    assert own.signers(signed, [OURS.certificate, THEIRS.certificate]) == (THEIRS.certificate,)
    assert own.signers(forged.sign(OURS.key, hashes.SHA256()), [OURS.certificate]) == (OURS.certificate,)


def test_below_a_common_root_only_the_own_intermediate_signs_own_clients() -> None:
    root = Authority.create(NOW, signs_authorities=True)
    east, west = root.create_intermediate("east", NOW), root.create_intermediate("west", NOW)
    ours = (east.certificate,)
    assert own.is_own(east.issue(profile.local("east"), NOW).certificate_pem, ours)
    assert not own.is_own(west.issue(profile.local("east"), NOW).certificate_pem, ours)
    assert not own.is_own(west.issue(profile.local("east"), NOW).certificate_pem, (root.certificate,))
