"""Through a rotation our own clients stay our own, whichever files of the running step each side has."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509

from certs import bundle, own
from certs.check import load_chain
from certs.issue import Authority
from certs.rotation import Step
from cli import secret
from tests.cli.test_certs_live import enabled, written


def test_at_every_step_the_server_knows_the_signers_of_before_and_after() -> None:
    now = datetime.now(UTC)
    members = [enabled("east", Authority.create(now))]
    for step in (Step.PREPARE, Step.TRUST, Step.REISSUE, Step.FORGET, Step.FINISH):
        after = written(members, step)
        moments = [members[0].leaves, after[0].leaves]
        for server in moments:
            for client in moments:
                assert own.is_own(client[secret.LOCAL][secret.CERTIFICATE], authorities(server)), step
        members = after


def authorities(leaves: secret.Secrets) -> tuple[x509.Certificate, ...]:
    """As the proxy takes them from its directory."""
    data = leaves[secret.SERVER]
    leaf, *between = load_chain(data[secret.CERTIFICATE])
    trust = bundle.parse(data[secret.TRUST]).certificates
    named = bundle.parse(data[own.OWN]).certificates if own.OWN in data else ()
    return own.signers(leaf, [*between, *trust]) + named
