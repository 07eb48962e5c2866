"""`clustermesh disable`: take the mesh out of one cluster. Its certificates' authority stays."""

from __future__ import annotations

import click

from cli import rbac, revocations, secret
from cli.running import run, say
from cli.settings import (
    AGENT,
    CERTGEN,
    MIRRORED_SECRET,
    OPERATOR,
    PEERS_SECRET,
    REVOKED_CONFIG_MAP,
    ROTATION_SECRET,
    SERVICE,
)
from cli.target import Target, with_target
from k8s.client import Client
from k8s.resource import CONFIGMAP, CRONJOB, DAEMONSET, DEPLOYMENT, PODDISRUPTIONBUDGET, Resource
from k8s.resource import SERVICE as SERVICE_KIND


@click.command()
@with_target
def disable(*, target: Target) -> None:
    """Remove agents, control plane, certificates and peers. Keeps kinds, imports and the authority.

    Whoever is revoked stays so. Nodes keep the programs in their kernel: connections go on.

    Other clusters keep their configuration of this one until they are disconnected.
    """
    run(_disable(target))


async def _disable(target: Target) -> None:
    async with target.connect() as client:
        for resource, name in removals(target.namespace):
            if await client.delete(resource, name, target.namespace if resource.namespaced else ""):
                say(f"deleted {resource.kind} {name}")
        await _revocations(client, target.namespace)
        if await client.get(secret.SECRET, ROTATION_SECRET, target.namespace) is not None:
            say(f"kept Secret {ROTATION_SECRET}: the authority is being replaced, 'certs rotate-ca' goes on")


async def _revocations(client: Client, namespace: str) -> None:
    """Whom the authority once certified stays shut out: a list that names somebody outlives the mesh."""
    raw = await client.get(CONFIGMAP, REVOKED_CONFIG_MAP, namespace)
    if raw is None:
        return
    if revocations.names_nobody(raw):
        await client.delete(CONFIGMAP, REVOKED_CONFIG_MAP, namespace)
        say(f"deleted ConfigMap {REVOKED_CONFIG_MAP}")
    else:
        say(f"kept ConfigMap {REVOKED_CONFIG_MAP}: whom it names stays shut out after the next enable")


def removals(namespace: str) -> list[tuple[Resource, str]]:
    """What to delete, in the order: first what runs, then what it needed."""
    accounts = [*rbac.objects(namespace, mcs_api=True), *rbac.certgen(namespace)]
    access = [(resource, str(body["metadata"]["name"])) for resource, body in accounts]
    return [
        (CRONJOB, CERTGEN),  # first: it would go on about certificates that are gone
        (DAEMONSET, AGENT),
        (DEPLOYMENT, OPERATOR),
        (DEPLOYMENT, SERVICE),
        (PODDISRUPTIONBUDGET, SERVICE),
        (SERVICE_KIND, SERVICE),
        *((secret.SECRET, name) for name in (PEERS_SECRET, MIRRORED_SECRET, *secret.LEAVES)),
        *access,
    ]
