"""`clustermesh certs trust`: accept one more authority, in everything that a cluster has issued."""

from __future__ import annotations

from pathlib import Path

import click

from certs import bundle
from certs.bundle import TrustBundle
from cli import facts, secret
from cli.errors import CommandError
from cli.running import run, say
from cli.target import Target, with_target


@click.command()
@with_target
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def trust(*, target: Target, file: Path) -> None:
    """Accept the authorities in the PEM file FILE too. Nothing restarts; pods follow within minutes."""
    run(_trust(target, bundle.parse(file.read_bytes())))


async def _trust(target: Target, more: TrustBundle) -> None:
    async with target.connect() as client:
        have = {
            name: data
            for name in secret.LEAVES
            if (data := await facts.secret_data(client, name, target.namespace)) is not None
        }
        if not have:
            raise CommandError(f"{target.label} has no certificates: run 'clustermesh enable{target.flags}'")
        for name, data in have.items():
            merged = bundle.merge([bundle.parse(data.get(secret.TRUST, b"")), more])
            [body] = secret.bodies(target.namespace, {name: {**data, secret.TRUST: merged.pem}})
            if await client.apply(secret.SECRET, body) != "unchanged":
                say(f"{name} accepts {len(merged.certificates)} authorities")
