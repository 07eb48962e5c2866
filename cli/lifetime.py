"""How long a cluster's certificates are good, from its Secrets. Pure: the time is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from certs.check import load_chain
from certs.errors import CertificateError
from certs.reissue import life_of
from cli import secret

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One leaf. `not_after` None: there is no certificate that can be read."""

    secret: str
    not_after: datetime | None
    left: timedelta = timedelta()
    is_late: bool = True  # five sixths of its life are over, and nobody has renewed it

    @property
    def is_good(self) -> bool:
        return self.left > timedelta()


def lifetimes(leaves: secret.Secrets, now: datetime) -> list[Lifetime]:
    """The one that ends first comes first."""
    found = [_lifetime(name, data.get(secret.CERTIFICATE, b""), now) for name, data in leaves.items()]
    return sorted(found, key=lambda each: each.left)


def _lifetime(name: str, pem: bytes, now: datetime) -> Lifetime:
    try:
        chain = load_chain(pem)
    except CertificateError:
        return Lifetime(name, None)
    ends = min(certificate.not_valid_after_utc for certificate in chain)
    return Lifetime(name, ends, ends - now, any(life_of(each).is_late(now) for each in chain))


def lines(found: list[Lifetime]) -> list[str]:
    """What ends soon or has ended; one line when all is well."""
    if not found:
        return []
    bad = [each for each in found if each.is_late]
    if not bad:
        first = found[0]
        return [f"✅ Certificates are valid for {first.left // DAY} days ({first.secret} ends first)"]
    return [_line(each) for each in bad]


def _line(each: Lifetime) -> str:
    if each.not_after is None:
        return f"❌ Secret {each.secret} has no certificate that can be read"
    if not each.is_good:
        return f"❌ The certificate in Secret {each.secret} expired at {each.not_after.isoformat()}"
    return (
        f"⚠️  The certificate in Secret {each.secret} expires in {each.left // DAY} days and was not renewed"
    )


def as_objects(found: list[Lifetime]) -> list[dict[str, object]]:
    return [
        {
            "secret": each.secret,
            "not_after": each.not_after.isoformat() if each.not_after else "",
            "days_left": each.left // DAY,
        }
        for each in found
    ]
