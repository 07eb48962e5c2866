"""`clustermesh certs show`: a cluster's certificates and what is wrong with them; exit 1 if anything is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import click
import msgspec
from cryptography import x509

from certs import bundle, describe, reissue
from certs.check import Purpose, check, load_chain, require_pair
from certs.errors import CertificateError
from cli import facts, secret
from cli.errors import CommandError
from cli.running import run
from cli.settings import CA_SECRET, CERTGEN
from cli.target import Target, with_target

DAY = 86400


@dataclass(frozen=True, slots=True)
class Shown:
    """One certificate in words. Times are ISO 8601, UTC."""

    secret: str
    subject: str = ""
    issuer: str = ""
    names: Sequence[str] = ()
    not_before: str = ""
    not_after: str = ""
    days_left: int = 0
    trusts: Sequence[str] = ()
    problems: Sequence[str] = ()


@click.command()
@with_target
@click.option("-o", "--output", type=click.Choice(["summary", "json"]), default="summary", show_default=True)
def show(*, target: Target, output: str) -> None:
    """Show the cluster's certificates."""
    found = run(_show(target))
    if output == "json":
        click.echo(msgspec.json.encode([asdict(each) for each in found]))
    else:
        click.echo("\n".join(line for each in found for line in as_lines(each)))
    if any(each.problems for each in found):
        raise SystemExit(1)


async def _show(target: Target) -> list[Shown]:
    now = datetime.now(UTC)
    async with target.connect() as client:
        found = {
            name: data
            for name in (CA_SECRET, *secret.LEAVES)
            if (data := await facts.secret_data(client, name, target.namespace)) is not None
        }
    if not found:
        raise CommandError(f"{target.label} has no certificates: run 'clustermesh enable{target.flags}'")
    return [shown(name, data, now) for name, data in found.items()]


def shown(name: str, data: secret.Data, now: datetime) -> Shown:
    """One Secret's certificate. An authority's Secret has its own under ca.crt (cert-manager: tls.crt)."""
    is_leaf = name in secret.LEAVES
    try:
        pem = data.get(secret.CERTIFICATE if is_leaf else secret.TRUST) or data[secret.CERTIFICATE]
        certificate = load_chain(pem)[0]
    except (CertificateError, KeyError):
        return Shown(name, problems=["there is no certificate that can be read"])
    problems = _leaf_problems(name, data, now) if is_leaf else _authority_problems(certificate, now)
    return Shown(
        name,
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        describe.names(certificate),
        certificate.not_valid_before_utc.isoformat(),
        certificate.not_valid_after_utc.isoformat(),
        int((certificate.not_valid_after_utc - now).total_seconds() // DAY),
        _trusted(data) if is_leaf else (),
        problems,
    )


def as_lines(each: Shown) -> list[str]:
    lines = [f"{each.secret}: {each.subject or '-'}, signed by {each.issuer or '-'}"]
    if each.not_after:
        lines.append(f"  valid from {each.not_before} to {each.not_after} ({each.days_left} days left)")
    if each.names:
        lines.append(f"  names: {', '.join(each.names)}")
    if each.trusts:
        lines.append(f"  accepts: {', '.join(each.trusts)}")
    return [*lines, *(f"  PROBLEM: {problem}" for problem in each.problems)]


def _leaf_problems(name: str, data: secret.Data, now: datetime) -> list[str]:
    try:
        trust = bundle.parse(data.get(secret.TRUST, b""))
        require_pair(data[secret.CERTIFICATE], data.get(secret.KEY, b""))
        purpose = Purpose.SERVER if name == secret.SERVER else Purpose.CLIENT
        findings = check(data[secret.CERTIFICATE], trust, purpose=purpose, now=now)
    except CertificateError as error:
        return [str(error)]
    problems = [finding.text for finding in findings]
    if not problems and reissue.life_of(reissue.leaf_of(data)).is_late(now):
        problems.append(
            f"it should long have been renewed: look at the jobs of CronJob {CERTGEN}, "
            "or run 'clustermesh certs renew'"
        )
    return problems


def _authority_problems(certificate: x509.Certificate, now: datetime) -> list[str]:
    ends = certificate.not_valid_after_utc
    if now > ends:
        return [f"the authority expired at {ends.isoformat()}"]
    if reissue.life_of(certificate).is_late(now):
        command = "rotate-ca" if bundle.is_root(certificate) else "intermediate"
        return [
            f"the authority expires at {ends.isoformat()} and nothing renews it by itself: "
            f"run 'clustermesh certs {command}'"
        ]
    return []


def _trusted(data: secret.Data) -> list[str]:
    """Names do not tell two authorities apart when one replaces the other: key identifiers do."""
    try:
        found = bundle.parse(data.get(secret.TRUST, b"")).certificates
    except CertificateError:
        return []
    return [f"{each.subject.rfc4514_string()} ({bundle.key_id(each).hex()[:8]})" for each in found]
