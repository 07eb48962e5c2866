"""What the API reads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agent import metrics
from agent.addresslist import addresses
from agent.agent import Agent
from agent.config import find_cgroup_root
from agent.errors import ConfigError
from agent.ipam import Addresses, AddressPool, Pools
from agent.ipcache import IPCacheEntry, Level, Rank
from agent.node import cilium_node, internal_ip, internal_ip6
from aiokit.wait import eventually
from k8s.core import Node
from kvstore.memory import MemoryBackend
from mesh.routingmode import RoutingMode
from peering.clusterids import ClusterIDs
from peering.peer import Peer
from peering.peers import Peers
from tests.agent.peerdata import FILE
from tests.agent.peering import Peering
from tests.agent.values import NODE, number, tables


def test_the_configured_peers_are_unknown_until_the_directory_was_read(tmp_path: Path) -> None:
    agent = Agent("east", "node-1")
    peering = Peering(MemoryBackend(), tables(), ids=ClusterIDs())
    assert agent.peer_listings() is None
    agent.peers = Peers(tmp_path, "east", lambda _: peering.peer, lambda: None)
    assert agent.peer_listings() is None
    agent.peers.is_read = True
    assert agent.peer_listings() == []


async def test_every_peer_has_its_withdrawals_among_the_metrics(tmp_path: Path) -> None:
    for name in ("west", "north"):
        (tmp_path / name).write_bytes(FILE)
    agent, peerings = Agent("east", "node-1"), dict[str, Peering]()

    def make(name: str) -> Peer:
        peerings[name] = Peering(MemoryBackend(), tables(), name=name)
        agent.states[name] = peerings[name].state
        return peerings[name].peer

    agent.peers = Peers(tmp_path, "east", make, lambda: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.peers.run(), name="peers under test")
        await eventually(lambda: len(peerings) == 2)
        values = agent.metrics()
        running.cancel()
    for name in ("west", "north"):
        at = f'{{source_cluster="east",target_cluster="{name}"}}'
        assert values[f"clustermesh_remote_cluster_nodes_withdrawn{at}"] == 0


def test_what_the_kernel_counted_is_among_the_metrics() -> None:
    counted = [
        {"number": 0, "reason": "forwarded", "direction": "ingress", "packets": 9, "bytes": 900},
        {"number": 133, "reason": "policy denied", "direction": "egress", "packets": 2, "bytes": 120},
        {"number": 6, "reason": "no backend", "direction": "service", "packets": 4, "bytes": 0},
    ]
    values = metrics.packets(counted)
    assert {name: value for name, value in values.items() if "forward" in name or "drop" in name} == {
        'cilium_forward_count_total{direction="ingress"}': 9,
        'cilium_forward_bytes_total{direction="ingress"}': 900,
        'cilium_drop_count_total{direction="egress",reason="policy denied"}': 2,
        'cilium_drop_bytes_total{direction="egress",reason="policy denied"}': 120,
    }
    assert values['clustermesh_service_refusals_total{reason="no backend"}'] == 4


def test_an_address_is_shown_with_its_source() -> None:
    world = tables()
    world.ipcache.upsert(
        "10.2.1.5/32", Rank(Level.PEER_ENDPOINT, "west"), IPCacheEntry(number(2, 1), "192.0.2.2")
    )
    world.ipcache.upsert("10.1.1.5/32", Rank(Level.OWN_NODE), IPCacheEntry(number(1, 1), None))
    shown = {entry["cidr"]: entry for entry in addresses(world.ipcache)}
    assert shown["10.2.1.5/32"]["hostIP"] == "192.0.2.2"
    assert shown["10.2.1.5/32"]["metadata"] == {"source": "clustermesh", "name": "", "cluster": "west"}
    assert shown["10.1.1.5/32"]["metadata"]["source"] == "local"
    assert [entry["cidr"] for entry in addresses(world.ipcache, "10.1.0.0/16")] == ["10.1.1.5/32"]


def test_our_record_says_how_to_reach_us() -> None:
    raw = {
        "metadata": {"name": "node-1", "uid": "u", "labels": {"zone": "a"}},
        "spec": {"podCIDR": "10.1.1.0/24"},
    }
    pools = Pools(AddressPool("10.1.1.0/24"))
    body = cilium_node(NODE, msgspec.convert(raw, Node), pools, "boot", Addresses("10.1.1.254"))
    assert body["spec"] == {
        "addresses": [
            {"type": "InternalIP", "ip": "198.18.1.11"},
            {"type": "CiliumInternalIP", "ip": "10.1.1.1"},
        ],
        "ipam": {"podCIDRs": ["10.1.1.0/24"]},
        "encryption": {"key": 0},
        "health": {"ipv4": "10.1.1.254", "ipv6": None},
        "bootid": "boot",
    }
    dual = replace(NODE, routing_mode=RoutingMode.NATIVE, ip6="fd00:18::1:b")
    body6 = cilium_node(dual, msgspec.convert(raw, Node), Pools(AddressPool("10.1.1.0/24")), "boot")
    assert body6["spec"]["addresses"][1] == {"type": "InternalIP", "ip": "fd00:18::1:b"}
    assert body["metadata"]["labels"] == {"zone": "a"}
    assert body["metadata"]["annotations"] == {"clustermesh.io/routing-mode": "tunnel"}
    assert body["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_the_nodes_own_ipv4_address_is_the_tunnels() -> None:
    addresses = [
        {"type": "Hostname", "address": "node-1"},
        {"type": "InternalIP", "address": "FD00:0::1"},
        {"type": "InternalIP", "address": "198.18.1.11"},
    ]
    node = msgspec.convert({"status": {"addresses": addresses}}, Node)
    assert (internal_ip(node), internal_ip6(node), internal_ip6(Node())) == ("198.18.1.11", "fd00::1", "")
    with pytest.raises(ConfigError, match="--node-ip"):
        internal_ip(Node())


def test_cgroup_two_is_found_where_it_is_mounted() -> None:
    mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    assert find_cgroup_root(mounts) == Path("/sys/fs/cgroup/unified")
    with pytest.raises(ConfigError, match="--cgroup-root"):
        find_cgroup_root("proc /proc proc rw 0 0\n")
