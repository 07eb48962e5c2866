"""`clustermesh certs renew`: issue leaves anew, signed as before. Nothing restarts: files are followed."""

from __future__ import annotations

import click

from certs import reissue
from certs.errors import CertificateError
from cli import clock, facts, secret
from cli.errors import CommandError
from cli.running import run, say
from cli.settings import CA_SECRET
from cli.target import Target, with_target


@click.command()
@with_target
@click.option("--force", is_flag=True, help="All of them, due or not.")
@click.option("--dry-run", is_flag=True, help="Say what would be renewed and change nothing.")
def renew(*, target: Target, force: bool, dry_run: bool) -> None:
    """Issue certificates that are due anew."""
    run(_renew(target, force=force, dry_run=dry_run))


async def _renew(target: Target, *, force: bool, dry_run: bool) -> None:
    refused = []
    async with target.connect() as client:
        now = await clock.now(client, target.label)
        ca_data = await facts.secret_data(client, CA_SECRET, target.namespace)
        if ca_data is None:
            raise CommandError(
                f"{target.label} has no Secret {CA_SECRET}: run 'clustermesh enable{target.flags}'"
            )
        authority = secret.authority_of(ca_data, now)
        for name in secret.LEAVES:
            data = await facts.secret_data(client, name, target.namespace)
            if data is None:
                continue
            try:
                new = reissue.renewed(data, authority, now, force=force)
            except CertificateError as error:
                refused.append(f"Secret {name}: {error}")
                continue
            if new is None:
                say(f"{name} is not due")
                continue
            if not dry_run:
                [body] = secret.bodies(target.namespace, {name: new})
                await client.apply(secret.SECRET, body)
            say(f"{'would renew' if dry_run else 'renewed'} {name}")
    if refused:
        raise CommandError("; ".join(refused))
