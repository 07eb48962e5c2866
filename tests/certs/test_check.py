"""What is found wrong, at which time, for which use."""

from datetime import datetime, timedelta

import pytest

from certs import bundle, profile
from certs.check import Problem, Purpose, check, require_pair
from certs.errors import MaterialError
from certs.issue import VALIDITY, Authority
from tests.certs.conftest import NOW

SERVER = profile.server("kube-system")
YEAR = timedelta(days=365)


def problems(
    authority: Authority,
    *,
    of: profile.Profile = SERVER,
    trusted: Authority | None = None,
    purpose: Purpose = Purpose.SERVER,
    now: datetime = NOW,
    name: str = "",
) -> set[Problem]:
    pem = authority.issue(of, NOW, validity=YEAR).certificate_pem
    trust = bundle.parse((trusted or authority).issued.certificate_pem)
    return {finding.problem for finding in check(pem, trust, purpose=purpose, now=now, name=name)}


@pytest.mark.parametrize(
    "name", ["west.mesh.cilium.io", "WEST.mesh.cilium.io.", "localhost", "127.0.0.1", "::1"]
)
def test_a_good_server_certificate_has_nothing_against_it(name: str, authority: Authority) -> None:
    assert problems(authority, name=name) == set()


@pytest.mark.parametrize(
    "name", ["mesh.cilium.io", "a.b.mesh.cilium.io", ".mesh.cilium.io", "127.0.0.2", "other"]
)
def test_a_name_that_is_not_in_it_is_reported(name: str, authority: Authority) -> None:
    assert problems(authority, name=name) == {Problem.WRONG_NAME}


def test_a_certificate_without_alternative_names_carries_none(authority: Authority) -> None:
    found = problems(authority, of=profile.remote(), purpose=Purpose.CLIENT, name="remote")
    assert found == {Problem.WRONG_NAME}


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (NOW - timedelta(minutes=5), set()),
        (NOW - timedelta(minutes=5, seconds=1), {Problem.NOT_YET_VALID}),
        (NOW + YEAR, set()),
        (NOW + YEAR + timedelta(seconds=1), {Problem.EXPIRED}),
    ],
)
def test_a_certificate_is_valid_up_to_its_last_second(
    now: datetime, expected: set[Problem], authority: Authority
) -> None:
    assert problems(authority, now=now) == expected


def test_a_certificate_for_one_side_is_not_for_the_other(authority: Authority) -> None:
    assert problems(authority, purpose=Purpose.CLIENT) == {Problem.WRONG_USE}
    assert problems(authority, of=profile.remote()) == {Problem.WRONG_USE}


def test_a_namesake_of_the_authority_is_not_trusted(authority: Authority) -> None:
    assert problems(authority, trusted=Authority.create(NOW)) == {Problem.UNTRUSTED}


def test_an_expired_authority_vouches_for_nobody() -> None:
    short = Authority.create(NOW - VALIDITY + timedelta(days=1))
    pem = short.issue(SERVER, NOW).certificate_pem
    found = check(
        pem,
        bundle.parse(short.issued.certificate_pem),
        purpose=Purpose.SERVER,
        now=NOW + timedelta(days=2),
    )
    assert {finding.problem for finding in found} == {Problem.EXPIRED}


def test_everything_that_is_wrong_is_said_at_once(authority: Authority) -> None:
    found = problems(
        authority,
        trusted=Authority.create(NOW),
        purpose=Purpose.CLIENT,
        now=NOW + 2 * YEAR,
        name="other",
    )
    assert found == {Problem.EXPIRED, Problem.WRONG_USE, Problem.WRONG_NAME, Problem.UNTRUSTED}


def test_a_key_of_another_certificate_is_noticed(authority: Authority) -> None:
    first, second = (authority.issue(profile.remote(), NOW) for _ in range(2))
    require_pair(first.certificate_pem, first.key_pem)
    with pytest.raises(MaterialError, match="does not belong"):
        require_pair(first.certificate_pem, second.key_pem)


@pytest.mark.parametrize("pem", [b"", b"no certificate"])
def test_what_is_no_certificate_is_called_so(pem: bytes, authority: Authority) -> None:
    with pytest.raises(MaterialError, match="PEM certificate"):
        check(pem, bundle.parse(authority.issued.certificate_pem), purpose=Purpose.CLIENT, now=NOW)
