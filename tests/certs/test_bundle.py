"""Bundles: who is trusted, and by which key."""

from datetime import timedelta

import pytest

from certs import bundle, profile
from certs.errors import MaterialError
from certs.issue import Authority
from tests.certs.conftest import NOW


def test_a_merged_bundle_trusts_everybody_that_either_one_trusts(authority: Authority) -> None:
    old = bundle.parse(authority.issued.certificate_pem)
    new = bundle.parse(Authority.create(NOW).issued.certificate_pem)
    both = bundle.merge([old, new, old])
    assert both.trusts_all_of(old)
    assert both.trusts_all_of(new)
    assert not old.trusts_all_of(both)
    assert len(both.certificates) == 2


def test_a_bundle_survives_being_written_and_read(authority: Authority) -> None:
    both = bundle.merge(
        [
            bundle.parse(authority.issued.certificate_pem),
            bundle.parse(Authority.create(NOW).issued.certificate_pem),
        ]
    )
    assert bundle.parse(both.pem) == both


def test_authorities_of_the_same_name_are_told_apart_by_their_keys(authority: Authority) -> None:
    namesake = Authority.create(NOW + timedelta(days=1))
    assert namesake.certificate.subject == authority.certificate.subject
    assert bundle.key_id(namesake.certificate) != bundle.key_id(authority.certificate)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_bundle_without_a_readable_authority_is_refused(pem: bytes) -> None:
    with pytest.raises(MaterialError):
        bundle.parse(pem)


def test_a_leaf_is_no_authority(authority: Authority) -> None:
    with pytest.raises(MaterialError, match="not an authority"):
        bundle.parse(authority.issue(profile.remote(), NOW).certificate_pem)
