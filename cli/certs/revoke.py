"""`clustermesh certs revoke`: shut a peer's client out at once, open streams included.

Writes the list that the API server's proxy follows. A peer that comes with the common name that all
clusters share cannot be told from others by name: then its certificate's serial number is what counts.
"""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509

from certs import reissue
from certs.check import load_chain
from cli import facts, revocations, secret
from cli.completing import complete_cluster, complete_context
from cli.errors import CommandError
from cli.revocations import Entry
from cli.running import run, say
from cli.settings import REVOKED_CONFIG_MAP, REVOKED_FILE
from cli.target import Target, with_target
from k8s.client import Client
from k8s.resource import CONFIGMAP

SHARED = "remote"  # the common name of clients of any cluster (spec 4.5)


@click.command()
@with_target
@click.argument("peer", shell_complete=complete_cluster)
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file: revoke this certificate, for peers that come with the shared name `remote`.",
)
@click.option(
    "--destination-context",
    "peer_context",
    shell_complete=complete_context,
    help="Context of PEER: read its certificate there.",
)
@click.option("--undo", is_flag=True, help="Let the peer in again.")
def revoke(
    *, target: Target, peer: str, certificates: tuple[Path, ...], peer_context: str | None, undo: bool
) -> None:
    """Shut the cluster PEER out at once: its common name, and the certificates that are given."""
    run(_revoke(target, peer, certificates, peer_context, undo=undo))


async def _revoke(
    target: Target, peer: str, certificates: tuple[Path, ...], peer_context: str | None, *, undo: bool
) -> None:
    entries = [
        Entry(name=f"remote-{peer}"),
        *(_of(load_chain(path.read_bytes())[0]) for path in certificates),
    ]
    if peer_context is not None:
        entries.append(await _of_peer(target.other(peer_context), peer))
    async with target.connect() as client:
        own = (await facts.config_map(client, target.namespace)).get("cluster-name", "")
        if peer == own:
            raise CommandError(f"{peer} is this cluster itself: nothing was changed")
        if len(entries) == 1 and not undo and await _shares_name(client, target.namespace):
            raise CommandError(
                f"clients of all clusters share the name {SHARED!r} here, so {peer} must be known by its "
                "certificate: give --certificate FILE or --destination-context; nothing was changed"
            )
        raw = await client.get(CONFIGMAP, REVOKED_CONFIG_MAP, target.namespace)
        present = revocations.parse(raw)
        wanted = revocations.without(present, entries) if undo else list(dict.fromkeys([*present, *entries]))
        body = {
            "metadata": {"name": REVOKED_CONFIG_MAP, "namespace": target.namespace},
            "data": {REVOKED_FILE: revocations.render(wanted)},
        }
        await client.apply(CONFIGMAP, body)
    say(f"{peer} is {'let in again' if undo else 'shut out'} as soon as the proxy reads the list")


async def _of_peer(target: Target, peer: str) -> Entry:
    async with target.connect() as client:
        name = (await facts.config_map(client, target.namespace)).get("cluster-name", "")
        if name != peer:
            raise CommandError(f"{target.label} is cluster {name!r}, not {peer!r}: nothing was changed")
        data = await facts.secret_data(client, secret.REMOTE, target.namespace)
        return _of(reissue.leaf_of(data or {}))


async def _shares_name(client: Client, namespace: str) -> bool:
    """Whether this mesh's clients come with the common name that all clusters share: ours does then."""
    data = await facts.secret_data(client, secret.REMOTE, namespace)
    return data is not None and reissue.profile_of(reissue.leaf_of(data)).common_name == SHARED


def _of(certificate: x509.Certificate) -> Entry:
    return Entry(serial=f"{certificate.serial_number:x}")
