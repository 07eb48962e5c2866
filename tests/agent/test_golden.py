"""What Cilium 1.20 wrote, in a real etcd, read as our peers, in the kernel's own map."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from agent.datapath import Datapath
from agent.kernel import KernelMaps
from agent.local import LocalNode
from agent.peerstate import PeerState
from agent.tables import Tables
from aiokit.health import Health
from aiokit.wait import eventually
from bpf.datapath import Datapath as LoadedDatapath
from kvstore import etcd as etcd_client
from kvstore.backend import PutOp
from kvstore.config import EtcdConfig
from mesh import keys
from mesh.addressing import ClusterID, ClusterName, IdentityLayout, PeerScope
from peering.clusterids import ClusterIDs
from peering.peer import Peer
from tests.bpf.conftest import bpffs, loaded_root, node  # noqa: F401 - fixtures
from tests.conftest import RunningEtcd
from tests.mesh.golden import Recorded, read

OWN = LocalNode(PeerScope(ClusterName("own"), ClusterID(7), IdentityLayout(255)), "node-1", "198.18.7.11")
CLUSTERS = ("cluster-001", "cluster-002")

Expected = dict[str, tuple[int, str | None]]


def expected(recorded: Iterable[Recorded]) -> Expected:
    """Read from the JSON by hand, not by our codecs: prefix -> (identity, tunnel)."""
    entries: Expected = {}
    for pair in recorded:
        match pair.key.split("/"):
            case ["cilium", "cache", "ip", "v1", _, address]:
                value = json.loads(pair.value)
                entries[f"{address}/32"] = (value["ID"], value["HostIP"] or None)
            case ["cilium", "cache", "nodes", "v1", _, _]:
                entries |= of_node(json.loads(pair.value))
    return entries


def of_node(value: dict[str, Any]) -> Expected:
    addresses = [(each["Type"], each["IP"]) for each in value["IPAddresses"]]
    tunnel = next(ip for type_, ip in addresses if type_ == "InternalIP" and ":" not in ip)
    entries: Expected = {}
    for type_, ip in addresses:
        entries[f"{ip}/32"] = (6, tunnel if type_ == "CiliumInternalIP" else None)
    for field, identity in (("IPv4HealthIP", 4), ("IPv4IngressIP", 8)):
        if value[field]:
            entries[f"{value[field]}/32"] = (identity, tunnel)
    return entries


async def fill(endpoint: str, recorded: list[Recorded]) -> None:
    async with etcd_client.connect(EtcdConfig((endpoint,))) as store:
        await store.txn([PutOp(pair.key.encode(), pair.value) for pair in recorded])
        await store.put(keys.HEARTBEAT, b"2026-11-23T09:15:02Z")


@pytest.mark.root
async def test_the_kernel_has_exactly_what_cilium_wrote(
    etcd: RunningEtcd,
    node: LoadedDatapath,  # noqa: F811
) -> None:
    recorded = read("mock-ipv4.json")
    await fill(etcd.endpoint, recorded)
    tables, ids = Tables(OWN), ClusterIDs()
    states = {name: PeerState(name, tables) for name in CLUSTERS}
    tables.set_peer_listings(lambda: [(s.cluster_id, s.is_listed) for s in states.values()])
    kernel = KernelMaps(
        tables,
        ipcache=node.ipcache,
        policy=node.policy,
        endpoints=node.endpoints,
        services=node.services,
        nodes=node.nodes,
    )
    datapath = Datapath(tables, kernel, health=Health())
    content = f"endpoints: [http://{etcd.endpoint}]\n".encode()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(datapath.run(), name="datapath")]
        for name, state in states.items():
            peer = Peer(name, sink=state, connect=etcd_client.connect, ids=ids, local=OWN.cluster)
            tasks.append(group.create_task(peer.run(content), name=name))
        tables.own_listed()
        await eventually(lambda: all(state.is_listed for state in states.values()))
        async with asyncio.timeout(10):
            await datapath.wait_applied(tables.clock.revision)
        for task in tasks:
            task.cancel()
    found = {prefix: (entry.identity, entry.tunnel) for prefix, entry in kernel.recovered_prefixes().items()}
    assert found == expected(recorded)
    assert len(found) > 40
    # the recorded addresses are made up: outside of the recorded nodes' CIDRs, which is counted, not refused
    assert all(reason.endswith("(kept)") for s in states.values() for reason in s.counts().refusals)
    assert all(state.counts().outside for state in states.values())
    assert len(tables.identities.all) == 16
    assert sum(len(state.services) for state in states.values()) == 8
