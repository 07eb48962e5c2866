"""`clustermesh certs intermediate`: let a cluster sign with an authority of its own, below a common root.

The root's key is read from a directory and goes nowhere. Refuses while anybody would not accept the root:
then the cluster would be cut off.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import click

from certs import bundle, reissue
from certs.errors import CertificateError
from certs.issue import Authority
from cli import clock, facts, secret
from cli.certs import root
from cli.errors import CommandError, RefusedError
from cli.facts import ClusterFacts
from cli.running import run, say
from cli.settings import CA_SECRET, ROTATION_SECRET
from cli.target import Target, split, with_target


@click.command()
@with_target
@click.option(
    "--root",
    "directory",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory with root.crt and root.key, as 'clustermesh certs root' makes it.",
)
@click.option(
    "--cluster-name", help="Name in the authority's subject (default: from ConfigMap cilium-config)."
)
@click.option(
    "--days", type=click.IntRange(min=1), default=1095, show_default=True, help="How long it is good."
)
@click.option(
    "--destination-context",
    "contexts",
    multiple=True,
    help="Context of a connected cluster; name all, repeated or separated by commas.",
)
def intermediate(
    *, target: Target, directory: Path, cluster_name: str | None, days: int, contexts: tuple[str, ...]
) -> None:
    """Sign this cluster's certificates with an authority of its own, below a common root.

    Before `enable`, or in a running mesh after `certs trust root.crt` in every cluster. Again: a new
    authority below the same root, which nobody has to be told.
    """
    run(_intermediate(target, root.load(directory), cluster_name, timedelta(days=days), split(contexts)))


async def _intermediate(
    target: Target, signer: Authority, name: str | None, validity: timedelta, contexts: Iterable[str]
) -> None:
    others = [await _read(target.other(context)) for context in contexts]
    async with target.connect() as client:
        now = await clock.now(client, target.label)
        own = await facts.read(client, target)
        name = own.name or name
        if not name:
            raise CommandError("this cluster has no name yet: give --cluster-name")
        if await client.get(secret.SECRET, ROTATION_SECRET, target.namespace) is not None:
            raise CommandError("the authority is being replaced: finish 'clustermesh certs rotate-ca' first")
        if refused := hindrances(own, others, signer):
            raise RefusedError(refused)
        authority = signer.create_intermediate(f"Cilium CA {name}", now, validity=validity)
        leaves = {each: reissue.signed_by(authority, data, now) for each, data in own.leaves.items()}
        wanted = {CA_SECRET: secret.ca_data(authority), **leaves}
        for body in secret.bodies(target.namespace, wanted):
            if await client.apply(secret.SECRET, body) != "unchanged":
                say(f"wrote Secret {body['metadata']['name']}")
    say(f"{target.label} signs with {authority.certificate.subject.rfc4514_string()}")
    if not leaves:
        say(f"now run 'clustermesh enable{target.flags} --cluster-name {name} …'")


async def _read(target: Target) -> ClusterFacts:
    async with target.connect() as client:
        return await facts.read(client, target)


def hindrances(own: ClusterFacts, others: Iterable[ClusterFacts], signer: Authority) -> list[str]:
    """Who would no longer accept this cluster, in words. Pure."""
    found = []
    wanted = signer.anchors.key_ids
    others = list(others)
    for cluster in (own, *others):
        deaf = [name for name, data in cluster.leaves.items() if not wanted <= _accepted(data)]
        if deaf:
            found.append(
                f"{cluster.target.label} does not accept the root in {', '.join(deaf)}: run "
                f"'clustermesh certs trust root.crt{cluster.target.flags}' and wait 3 minutes for its pods"
            )
    missing = sorted((own.peers | own.mirrored) - {cluster.name for cluster in others})
    if missing and own.leaves:
        found.append(
            f"connected and not named: {', '.join(missing)}: give their contexts with --destination-context"
        )
    return found


def _accepted(data: secret.Data) -> frozenset[bytes]:
    try:
        return bundle.parse(data.get(secret.TRUST, b"")).key_ids
    except CertificateError:
        return frozenset()
