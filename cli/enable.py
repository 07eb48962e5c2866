"""`clustermesh enable`: install the mesh's control plane and agents in one cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from aiokit.wait import eventually
from cli import clock, crd, facts, manifest, peerfile, provider, rollout, secret, users
from cli.duration import duration
from cli.errors import CommandError
from cli.identity import ClusterIdentity, chosen
from cli.manifest import Manifest
from cli.manifesttext import as_yaml
from cli.running import run, say
from cli.settings import (
    AUTH_MODES,
    CA_SECRET,
    CLUSTER,
    ETCD_IMAGE,
    MIGRATION,
    MIRRORED_SECRET,
    OPERATOR,
    PEERS_SECRET,
    SERVICE,
    MeshSettings,
)
from cli.target import Target, with_target
from cli.version import installed
from k8s.client import Client
from k8s.resource import DEPLOYMENT

POLL_SECONDS = 0.2


@click.command()
@with_target
@click.option("--cluster-name", help="This cluster's name (default: from ConfigMap cilium-config).")
@click.option("--cluster-id", type=int, help="This cluster's id (default: from ConfigMap cilium-config).")
@click.option("--max-connected-clusters", type=click.Choice(["255", "511"]), help="Equal in the whole mesh.")
@click.option(
    "--service-type",
    type=click.Choice(["LoadBalancer", "NodePort"]),
    help="How peers reach this cluster (default: by the cloud that runs it).",
)
@click.option(
    "--enable-kvstoremesh",
    type=bool,
    help="Read peers once for the cluster, not once for each node (default: as installed, else true).",
)
@click.option(
    "--enable-mcs-api",
    type=bool,
    help="ServiceExports and ServiceImports of MCS-API (default: as installed, else false).",
)
@click.option(
    "--ip-families",
    type=click.Choice(["ipv4", "ipv6", "dual"]),
    help="What Services of this cluster can have, for those of MCS-API (default: as installed, else "
    "as ConfigMap cilium-config says, else ipv4).",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 9),
    help="Control planes, each with an etcd of its own (default: as installed, else 1).",
)
@click.option(
    "--auth-mode",
    type=click.Choice(AUTH_MODES),
    help="Names of other clusters' clients: remote (legacy), remote-<cluster> (cluster), or either; ours is "
    "remote-<cluster> in mode cluster (default: as installed, else migration).",
)
@click.option("--image", help="Image of the control plane and the agents.")
@click.option("--etcd-image", default=ETCD_IMAGE, show_default=True, help="Image of the mesh's own etcd.")
@click.option("--dry-run", is_flag=True, help="Print the objects as YAML and change nothing.")
@click.option("--wait", is_flag=True, help="Return only when everything runs and has an address.")
@click.option("--wait-duration", type=duration, default="5m", show_default=True)
def enable(*, target: Target, dry_run: bool, wait: bool, wait_duration: float, **flags: Any) -> None:
    """Make a cluster ready to be connected."""
    run(_enable(target, flags, dry_run=dry_run, wait_seconds=wait_duration if wait else 0.0))


async def _enable(target: Target, flags: Mapping[str, Any], *, dry_run: bool, wait_seconds: float) -> None:
    async with target.connect() as client:
        settings = await _settings(client, target, flags)
        if settings.mcs_api:
            await _require_current_kinds(client)
        secrets = await _secrets(client, settings, await clock.now(client, target.label))
        wanted = manifest.objects(settings, secrets)
        if dry_run:
            click.echo(as_yaml(wanted), nl=False)
            return
        if settings.auth_mode == CLUSTER:
            await _keep_users(client, settings)
        for each in wanted:
            await _apply(client, each)
        await _lead_to_peers(client, settings)
        if not settings.mcs_api and await client.delete(DEPLOYMENT, OPERATOR, settings.namespace):
            say(f"deleted Deployment {OPERATOR}; the ServiceImports it made stay as they are")
        say(f"enabled cluster {settings.cluster_name} (id {settings.cluster_id}) in {target.label}")
        if wait_seconds:
            await _wait(client, target, wait_seconds)


async def _require_current_kinds(client: Client) -> None:
    """Definitions that are there are never changed: an older one of somebody else would keep ours waiting."""
    for resource in crd.MCS_API:
        name = f"{resource.plural}.{resource.group}"
        installed = await client.get(crd.CRD, name)
        if installed is not None and crd.lacks_version(installed, resource):
            raise CommandError(
                f"the installed CustomResourceDefinition {name} does not serve {resource.version}: "
                "install MCS-API's current definitions first"
            )


async def _settings(client: Client, target: Target, flags: Mapping[str, Any]) -> MeshSettings:
    async with asyncio.TaskGroup() as group:
        config = group.create_task(facts.config_map(client, target.namespace), name="read config")
        deployment = group.create_task(client.get(DEPLOYMENT, SERVICE, target.namespace), name="read mesh")
        operator = group.create_task(client.get(DEPLOYMENT, OPERATOR, target.namespace), name="read operator")
        nodes = group.create_task(provider.read_nodes(client), name="read nodes")
    identity = chosen(
        ClusterIdentity.of(config.result()),
        name=flags["cluster_name"],
        cluster_id=flags["cluster_id"],
        max_connected_clusters=flags["max_connected_clusters"],
        is_enabled=deployment.result() is not None,
        flags=target.flags,
        label=target.label,
        config=config.result(),
    )
    service = provider.service_for(nodes.result(), flags["service_type"])
    on_control_node = provider.has_control_node(nodes.result())
    return MeshSettings(
        cluster_name=identity.name,
        cluster_id=int(identity.cluster_id),
        max_connected_clusters=int(identity.max_connected_clusters),
        namespace=target.namespace,
        service_type=service.type,
        service_annotations=service.annotations,
        image=flags["image"] or f"clustermesh.io/clustermesh:{installed()}",
        etcd_image=flags["etcd_image"],
        replicas=_replicas(flags["replicas"], deployment.result(), on_control_node=on_control_node),
        kvstoremesh=_mirrors(flags["enable_kvstoremesh"], deployment.result()),
        mcs_api=_as_installed(flags["enable_mcs_api"], is_installed=operator.result() is not None),
        on_control_node=on_control_node,
        auth_mode=_auth_mode(flags["auth_mode"], deployment.result()),
        ip_families=_ip_families(flags["ip_families"], operator.result()),
    )


def _as_installed(wanted: bool | None, *, is_installed: bool) -> bool:
    return is_installed if wanted is None else wanted


def _auth_mode(wanted: str | None, deployment: bytes | None) -> str:
    """As asked for, else as it is, else either name."""
    return wanted or (facts.auth_mode(deployment) if deployment else MIGRATION)


def _ip_families(wanted: str | None, operator: bytes | None) -> str:
    """As asked for, else as it is; empty: nobody ever asked."""
    return wanted or (facts.ip_families(operator) if operator else "")


def _replicas(wanted: int | None, deployment: bytes | None, *, on_control_node: bool) -> int:
    """As asked for, else as it is, else one."""
    count = wanted or (facts.replicas(deployment) if deployment else 1)
    if on_control_node and count > 1:
        raise CommandError("the node that is set aside for the control plane has room for one: --replicas 1")
    return count


def _mirrors(wanted: bool | None, deployment: bytes | None) -> bool:
    """As asked for, else as it is, else yes."""
    if wanted is not None:
        return wanted
    return deployment is None or facts.has_kvstoremesh(deployment)


async def _keep_users(client: Client, settings: MeshSettings) -> None:
    """From now on only who is told of is let in: at first, all whom this cluster knows."""
    namespace = settings.namespace
    if await users.read(client, namespace) is None:
        secrets = [
            await facts.secret_data(client, name, namespace) for name in (PEERS_SECRET, MIRRORED_SECRET)
        ]
        known = [facts.peer_names(data or {}, settings.cluster_name) for data in secrets]
        await users.write(client, namespace, frozenset[str]().union(*known))


async def _lead_to_peers(client: Client, settings: MeshSettings) -> None:
    """Peers stay connected when KVStoreMesh is turned on or off: the files lead another way then."""
    namespace = settings.namespace
    agents, mirrored = [
        {
            name: text.decode()
            for name, text in (await facts.secret_data(client, secret_name, namespace) or {}).items()
        }
        for secret_name in (PEERS_SECRET, MIRRORED_SECRET)
    ]
    peers = peerfile.reached(agents, mirrored, namespace)
    for name, files in peerfile.secrets(peers, namespace, mirrored=settings.kvstoremesh).items():
        if files:
            await _apply(client, Manifest(secret.SECRET, secret.files(namespace, name, files)))
    if mirrored and not settings.kvstoremesh:
        await client.merge_patch(secret.SECRET, MIRRORED_SECRET, {"data": None}, namespace)


async def _secrets(client: Client, settings: MeshSettings, now: datetime) -> secret.Secrets:
    """What the cluster has, completed. The authority itself is only among them when it is new."""
    have = {
        name: data
        for name in secret.LEAVES
        if (data := await facts.secret_data(client, name, settings.namespace)) is not None
    }
    ca_data = await facts.secret_data(client, CA_SECRET, settings.namespace)
    authority = secret.authority_of(ca_data, now)
    own_name = settings.auth_mode == CLUSTER
    wanted = secret.profiles(settings.cluster_name, settings.namespace, own_name=own_name)
    leaves = secret.leaf_secrets(authority, wanted, have, now)
    return leaves if ca_data is not None else {CA_SECRET: secret.ca_data(authority), **leaves}


async def _apply(client: Client, each: Manifest) -> None:
    namespace = each.body["metadata"].get("namespace", "")
    if each.once and await client.get(each.resource, each.name, namespace) is not None:
        return
    applied = await client.apply(each.resource, each.body)
    if applied != "unchanged":
        say(f"{applied} {each.resource.kind} {each.name}")


async def _wait(client: Client, target: Target, seconds: float) -> None:
    """Until the control plane has an address and every pod is ready."""
    missing: list[str] = []

    async def is_up() -> bool:
        missing[:] = await rollout.missing(client, target)
        return not missing

    say("waiting until everything runs")
    begun = time.monotonic()
    try:
        await eventually(is_up, seconds, POLL_SECONDS)
    except TimeoutError:
        raise CommandError(f"not up within {seconds:g} s: {'; '.join(missing)}") from None
    say(f"everything runs after {time.monotonic() - begun:.1f} s")
