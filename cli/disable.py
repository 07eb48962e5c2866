"""`clustermesh disable`: take the mesh out of one cluster. Its certificates' authority stays."""

from __future__ import annotations

import click

from cli import rbac, secret
from cli.running import run, say
from cli.settings import AGENT, CERTGEN, MIRRORED_SECRET, OPERATOR, PEERS_SECRET, SERVICE
from cli.target import Target, with_target
from k8s.resource import CRONJOB, DAEMONSET, DEPLOYMENT, PODDISRUPTIONBUDGET, Resource
from k8s.resource import SERVICE as SERVICE_KIND


@click.command()
@with_target
def disable(*, target: Target) -> None:
    """Remove agents, control plane, certificates and peers. Keeps kinds, imports and the authority.

    Other clusters keep their configuration of this one until they are disconnected.
    """
    run(_disable(target))


async def _disable(target: Target) -> None:
    async with target.connect() as client:
        for resource, name in removals(target.namespace):
            if await client.delete(resource, name, target.namespace if resource.namespaced else ""):
                say(f"deleted {resource.kind} {name}")


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
