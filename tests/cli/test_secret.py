"""Certificates are kept while they are good, and only then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certs import bundle
from certs.issue import Authority, Issued
from cli import secret
from cli.errors import CommandError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WANTED = secret.profiles("east", "kube-system")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(NOW)


def test_good_certificates_are_kept(authority: Authority) -> None:
    first = secret.leaf_secrets(authority, WANTED, {}, NOW)
    assert secret.leaf_secrets(authority, WANTED, first, NOW + timedelta(days=900)) == first


def test_certificates_are_issued_anew_before_they_expire(authority: Authority) -> None:
    long_lived = Authority.create(NOW, validity=timedelta(days=4000))
    first = secret.leaf_secrets(long_lived, WANTED, {}, NOW)
    second = secret.leaf_secrets(long_lived, WANTED, first, NOW + timedelta(days=1070))
    assert all(first[name]["tls.crt"] != second[name]["tls.crt"] for name in WANTED)


def test_certificates_of_another_cluster_name_are_replaced(authority: Authority) -> None:
    first = secret.leaf_secrets(authority, WANTED, {}, NOW)
    renamed = secret.leaf_secrets(authority, secret.profiles("north", "kube-system"), first, NOW)
    assert renamed[secret.ADMIN]["tls.crt"] != first[secret.ADMIN]["tls.crt"]
    assert renamed[secret.REMOTE] == first[secret.REMOTE]


def test_certificates_of_another_authority_are_replaced_and_that_one_stays_trusted(
    authority: Authority,
) -> None:
    other = Authority.create(NOW)
    first = secret.leaf_secrets(other, WANTED, {}, NOW)
    second = secret.leaf_secrets(authority, WANTED, first, NOW)
    assert all(first[name]["tls.crt"] != second[name]["tls.crt"] for name in WANTED)
    trusted = bundle.parse(second[secret.SERVER]["ca.crt"]).key_ids
    assert trusted == {bundle.key_id(other.certificate), bundle.key_id(authority.certificate)}


def test_a_key_that_does_not_fit_is_replaced(authority: Authority) -> None:
    first = dict(secret.leaf_secrets(authority, WANTED, {}, NOW))
    first[secret.REMOTE] = {**first[secret.REMOTE], "tls.key": first[secret.LOCAL]["tls.key"]}
    second = secret.leaf_secrets(authority, WANTED, first, NOW)
    assert second[secret.REMOTE]["tls.crt"] != first[secret.REMOTE]["tls.crt"]


def test_an_authority_without_its_key_cannot_sign_and_says_how_to_go_on(authority: Authority) -> None:
    issued: Issued = authority.issued
    with pytest.raises(CommandError, match=r"ca\.key"):
        secret.authority_of({"ca.crt": issued.certificate_pem}, NOW)
