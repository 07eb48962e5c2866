"""What the members of a mesh hold of each other, read from each store and each agent by itself."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from dataclasses import dataclass

import msgspec

from k8s.resource import POD
from kvstore.digest import digest
from lab.demo.driver import Driver
from lab.plan import ClusterPlan, LabPlan
from mesh.keys import Kind, cache_prefix, state_prefix

AGENT_PORT = 9879
AGENT_KINDS = (Kind.NODES, Kind.IDENTITIES, Kind.IPS, Kind.SERVICES)  # what an agent imports by default

Digests = dict[str, str]  # kind -> digest
Store = dict[bytes, bytes]


@dataclass(frozen=True)
class Difference:
    """`member` holds something else of `peer` than `peer` has."""

    member: str
    peer: str
    kind: str


async def differences(lab: Driver, plan: LabPlan) -> list[Difference]:
    """Every member against every source; empty when all hold what the sources have."""
    stores = {cluster.name: await store(cluster) for cluster in plan.clusters}
    found: list[Difference] = []
    for reader in plan.clusters:
        agents = await _agents(lab, reader.name)
        for peer in plan.clusters:
            if peer is reader:
                continue
            wanted = _digests(stores[peer.name], peer.name, cached=False)
            members = {f"{reader.name}/cache": _digests(stores[reader.name], peer.name, cached=True)}
            members |= {pod: said.get(peer.name, {}) for pod, said in agents.items()}
            for member, held in members.items():
                kinds = Kind if member.endswith("/cache") else AGENT_KINDS
                found += [
                    Difference(member, peer.name, name)
                    for name in (kind.name.lower() for kind in kinds)
                    if held.get(name) != wanted[name]
                ]
    return found


async def store(cluster: ClusterPlan) -> Store:
    """All keys of a cluster's mesh etcd, from its own loopback."""
    printed = await etcdctl(cluster, "get", "--prefix", "cilium/", "-w", "json")
    pairs = json.loads(printed).get("kvs", [])
    return {base64.b64decode(pair["key"]): base64.b64decode(pair.get("value", "")) for pair in pairs}


async def etcdctl(cluster: ClusterPlan, *arguments: str) -> bytes:
    """etcdctl beside a cluster's mesh etcd; empty while that does not answer."""
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/run/netns/{cluster.control.namespace}"),
        *("etcdctl", "--endpoints=127.0.0.1:2378", "--command-timeout=3s", *arguments),
        env=os.environ | {"ETCDCTL_API": "3"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 10)
    return out if process.returncode == 0 else b"{}"


def _digests(held: Store, cluster: str, *, cached: bool) -> Digests:
    prefix_of = cache_prefix if cached else state_prefix
    return {kind.name.lower(): _digest(held, prefix_of(kind, cluster)) for kind in Kind}


def _digest(held: Store, prefix: bytes) -> str:
    return digest({key[len(prefix) :]: value for key, value in held.items() if key.startswith(prefix)})


async def _agents(lab: Driver, cluster: str) -> dict[str, dict[str, Digests]]:
    """Agent's pod -> peer -> what it holds."""
    found = {}
    async with lab.kubernetes(cluster) as client:
        for raw in await client.list(POD, "kube-system", label_selector="k8s-app=clustermesh-agent"):
            name = msgspec.json.decode(raw)["metadata"]["name"]
            body = await client.proxy_get(name, "kube-system", AGENT_PORT, "/v1/healthz")
            peers = msgspec.json.decode(body).get("cluster-mesh", {}).get("clusters", [])
            found[name] = {peer["name"]: peer.get("digests", {}) for peer in peers}
    return found
