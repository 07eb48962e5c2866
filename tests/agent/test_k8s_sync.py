"""Our own cluster's objects, from a real API server into the tables."""

from __future__ import annotations

from typing import Any

from agent.ipcache import IPCacheEntry
from aiokit.wait import eventually
from k8s.client import Client
from k8s.resource import (
    CILIUMCLUSTERWIDENETWORKPOLICY,
    CILIUMENDPOINT,
    CILIUMIDENTITY,
    CILIUMNETWORKPOLICY,
    CILIUMNODE,
    ENDPOINTSLICE,
    NETWORKPOLICY,
    SERVICE,
)
from mesh.matching import Backend
from tests.agent.station import Station
from tests.agent.test_policy import policy
from tests.agent.values import labels, number


def node(name: str, ip: str, inside: str) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "ip": ip}, {"type": "CiliumInternalIP", "ip": inside}]
    return {"metadata": {"name": name}, "spec": {"addresses": addresses}}


def wanted(station: Station) -> dict[str, IPCacheEntry]:
    return dict(station.tables.ipcache.wanted.entries)


async def test_our_node_is_the_host_and_the_others_are_remote_nodes(station: Station, client: Client) -> None:
    await client.create(CILIUMNODE, node("node-1", "198.18.1.11", "10.1.1.1"))
    await client.create(CILIUMNODE, node("node-2", "198.18.1.12", "10.1.2.1"))
    async with station.running():
        assert wanted(station) == {
            "198.18.1.11/32": IPCacheEntry(1, None),
            "10.1.1.1/32": IPCacheEntry(1, None),
            "198.18.1.12/32": IPCacheEntry(6, None),
            "10.1.2.1/32": IPCacheEntry(6, "198.18.1.12"),
        }
        moved = {"spec": {"addresses": [{"type": "InternalIP", "ip": "198.18.1.99"}]}}
        await client.merge_patch(CILIUMNODE, "node-2", moved)
        await eventually(lambda: "198.18.1.99/32" in wanted(station))
        assert wanted(station).keys() == {"198.18.1.11/32", "10.1.1.1/32", "198.18.1.99/32"}
        await client.delete(CILIUMNODE, "node-2")
        await eventually(lambda: wanted(station).keys() == {"198.18.1.11/32", "10.1.1.1/32"})


async def test_endpoints_of_our_cluster_come_and_go(station: Station, client: Client) -> None:
    body = {
        "metadata": {"name": "web-1", "namespace": "shop"},
        "status": {
            "identity": {"id": number(1, 3)},
            "networking": {"addressing": [{"ipv4": "10.1.2.5"}], "node": "198.18.1.12"},
        },
    }
    async with station.running():
        await client.create(CILIUMENDPOINT, body)
        await eventually(lambda: "10.1.2.5/32" in wanted(station))
        assert wanted(station)["10.1.2.5/32"] == IPCacheEntry(number(1, 3), "198.18.1.12")
        await client.delete(CILIUMENDPOINT, "web-1", "shop")
        await eventually(lambda: wanted(station) == {})


async def test_services_and_their_slices_become_frontends(station: Station, client: Client) -> None:
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    async with station.running():
        await client.create(SERVICE, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
        await client.create(
            ENDPOINTSLICE,
            {
                "metadata": {
                    "name": "web-1",
                    "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.1.1.5"], "conditions": {"ready": True}}],
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            },
        )
        services = station.tables.services.wanted.entries
        await eventually(lambda: list(services.values()) == [(Backend("10.1.1.5", 8080, "TCP", 0),)])
        (frontend,) = services
        assert (frontend.port, frontend.protocol) == (80, "TCP")
        await client.delete(SERVICE, "web", "shop")
        await eventually(lambda: not station.tables.services.wanted.entries)


async def test_identities_of_our_cluster_are_known_and_odd_names_are_not(
    station: Station, client: Client
) -> None:
    security = {f"{label.source}:{label.key}": label.value for label in labels("web")}
    async with station.running():
        for name in (str(number(1, 5)), "no-number"):
            await client.create(CILIUMIDENTITY, {"metadata": {"name": name}, "security-labels": security})
        await eventually(lambda: number(1, 5) in station.tables.identities.own)
        assert station.tables.identities.own == {number(1, 5): labels("web")}
        await client.delete(CILIUMIDENTITY, str(number(1, 5)))
        await eventually(lambda: not station.tables.identities.all)


async def test_a_policy_that_cannot_be_read_is_shown_and_its_last_good_version_stays(
    station: Station, client: Client
) -> None:
    await client.create(CILIUMNETWORKPOLICY, policy("p"))
    async with station.running():
        assert station.tables.policies.names == ["shop/p"]
        await client.merge_patch(
            CILIUMNETWORKPOLICY, "p", {"spec": {"endpointSelector": "no selector"}}, "shop"
        )
        await eventually(lambda: "shop/p" in station.sync.view.policies_refused)
        assert station.tables.policies.names == ["shop/p"]
        await client.delete(CILIUMNETWORKPOLICY, "p", "shop")
        await eventually(lambda: station.tables.policies.names == [])
        assert station.sync.view.policies_refused == {}


async def test_three_kinds_of_policies_are_followed_and_may_have_equal_names(
    station: Station, client: Client
) -> None:
    said = policy("p")
    await client.create(CILIUMNETWORKPOLICY, said)
    await client.create(CILIUMCLUSTERWIDENETWORKPOLICY, {**said, "metadata": {"name": "p"}})
    spec = {"podSelector": {}, "policyTypes": ["Egress"]}
    await client.create(NETWORKPOLICY, {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
    async with station.running():
        assert station.tables.policies.names == ["networkpolicy/shop/p", "p", "shop/p"]
        wrong = {"spec": {"policyTypes": ["Sideways"]}}
        await client.merge_patch(NETWORKPOLICY, "p", wrong, "shop")
        await eventually(lambda: "networkpolicy/shop/p" in station.sync.view.policies_refused)
        await client.delete(NETWORKPOLICY, "p", "shop")
        await eventually(lambda: station.tables.policies.names == ["p", "shop/p"])
        assert station.sync.view.policies_refused == {}
