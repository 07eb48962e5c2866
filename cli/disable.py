"""`clustermesh disable`: take the mesh out of one cluster. Its certificates' authority stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from cli import manifest, rbac, revocations, secret, users
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
from k8s import objects
from k8s.client import Client
from k8s.core import ConfigMap
from k8s.resource import CONFIGMAP, CRONJOB, DAEMONSET, DEPLOYMENT, PODDISRUPTIONBUDGET, Resource
from k8s.resource import SERVICE as SERVICE_KIND
from peering import rules


@click.command()
@with_target
def disable(*, target: Target) -> None:
    """Remove agents, control plane, certificates and peers. Keeps kinds, imports and the authority.

    What peers are forbidden stays so. Nodes keep the programs in their kernel: connections go on, until
    `clustermesh post-uninstall-cleanup`.

    Other clusters keep their configuration of this one until they are disconnected.
    """
    run(_disable(target))


async def _disable(target: Target) -> None:
    had_agents = False
    async with target.connect() as client:
        for resource, name in removals(target.namespace):
            if await client.delete(resource, name, target.namespace if resource.namespaced else ""):
                say(f"deleted {resource.kind} {name}")
                had_agents = had_agents or (resource, name) == (DAEMONSET, AGENT)
        for name, is_empty in LISTS.items():
            await _list(client, name, target.namespace, is_empty)
        if await client.get(secret.SECRET, ROTATION_SECRET, target.namespace) is not None:
            say(f"kept Secret {ROTATION_SECRET}: the authority is being replaced, 'certs rotate-ca' goes on")
    if had_agents:
        say(f"nodes go on as they are until 'clustermesh post-uninstall-cleanup{target.flags}'")


async def _list(client: Client, name: str, namespace: str, is_empty: Callable[[bytes], bool]) -> None:
    """What an operator has forbidden stays forbidden: a list that says something outlives the mesh."""
    raw = await client.get(CONFIGMAP, name, namespace)
    if raw is None:
        return
    if is_empty(raw):
        await client.delete(CONFIGMAP, name, namespace)
        say(f"deleted ConfigMap {name}")
    else:
        say(f"kept ConfigMap {name}: what it says counts again after the next enable")


def _says_nothing(raw: bytes) -> bool:
    return objects.decode(raw, ConfigMap).data == manifest.rules_of_nobody()


LISTS: Mapping[str, Callable[[bytes], bool]] = {
    REVOKED_CONFIG_MAP: revocations.names_nobody,
    rules.CONFIG_MAP: _says_nothing,
    users.CONFIG_MAP: lambda _raw: False,  # without it the proxy lets in all whose authority it accepts
}


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
