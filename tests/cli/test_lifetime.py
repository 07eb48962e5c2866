"""Certificates that end: said in time, and an expired one is no healthy mesh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certs import profile
from certs.issue import Authority
from cli import secret
from cli.lifetime import as_objects, lifetimes, lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = Authority.create(NOW - timedelta(days=400))


def leaf(days: int) -> dict[str, bytes]:
    """A certificate that ends `days` from now."""
    made = NOW - timedelta(days=100)
    issued = AUTHORITY.issue(profile.remote(), made, validity=timedelta(days=100 + days))
    return {secret.CERTIFICATE: issued.certificate_pem}


def test_when_all_is_well_the_first_to_end_is_named() -> None:
    found = lifetimes({"a": leaf(90), "b": leaf(60)}, NOW)
    assert lines(found) == ["✅ Certificates are valid for 60 days (b ends first)"]
    assert all(each.is_good for each in found)


def test_what_ends_soon_is_said_and_what_has_ended_is_not_good() -> None:
    found = lifetimes({"a": leaf(3), "b": leaf(-1), "c": leaf(90), "d": {}}, NOW)
    text = "\n".join(lines(found))
    assert "expires in 3 days and was not renewed" in text
    assert "❌ The certificate in Secret b expired at 2025-12-31" in text
    assert "❌ Secret d has no certificate" in text
    assert {each.secret for each in found if not each.is_good} == {"b", "d"}
    assert {each["secret"]: each["days_left"] for each in as_objects(found)} == {
        "a": 3,
        "b": -1,
        "c": 90,
        "d": 0,
    }


def test_short_lives_are_well_until_most_of_them_is_over() -> None:
    issued = AUTHORITY.issue(profile.remote(), NOW, validity=timedelta(days=6)).certificate_pem
    assert "✅" in lines(lifetimes({"a": {secret.CERTIFICATE: issued}}, NOW + timedelta(days=4)))[0]
    assert "⚠️" in lines(lifetimes({"a": {secret.CERTIFICATE: issued}}, NOW + timedelta(days=5)))[0]


def test_a_cluster_without_certificates_says_nothing_of_them() -> None:
    assert lines(lifetimes({}, NOW)) == []
