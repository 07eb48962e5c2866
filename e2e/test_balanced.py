"""A global service at a load balancer's and at an external address, for clients outside of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from aiokit.wait import eventually
from e2e.conftest import Mesh
from e2e.knocking import Target, knock
from e2e.nodeports import TIMES, plain, until_from, web
from e2e.outside import ADDRESS, ADDRESS6, knock_from, outside
from k8s import resource
from k8s.resource import SERVICE
from lab import netns
from lab.demo.objects import NAMESPACE
from mesh.localoptions import NODE, SOURCE_RANGES_POLICY, TYPE

BALANCER, EXTERNAL = "203.0.113.7", "203.0.113.8"
BALANCER6, EXTERNAL6 = "2001:db8:113::7", "2001:db8:113::8"
BALANCERS, EXTERNALS = (BALANCER, BALANCER6), (EXTERNAL, EXTERNAL6)
EVERYWHERE = (*BALANCERS, *EXTERNALS)
HEALTH_PORT = 32_099
BOTH = {"east", "west"}
UNSET = dict.fromkeys(
    ("externalIPs", "externalTrafficPolicy", "healthCheckNodePort", "loadBalancerSourceRanges")
)
NO_OPTIONS = dict.fromkeys((NODE, SOURCE_RANGES_POLICY, TYPE))


@pytest.fixture
def client(connected: Mesh) -> Iterator[str]:
    with outside(connected.plan) as namespace:
        yield namespace


async def inside(namespace: str, *command: str) -> str:
    """What a command says in a namespace; AssertionError if it fails."""
    enter = ("nsenter", f"--net={netns.path(namespace)}", *command)
    process = await asyncio.create_subprocess_exec(*enter, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, command
    return said.decode()


async def balance(mesh: Mesh, options: Mapping[str, str] | None = None, **spec: object) -> None:
    """What is not given goes: applying leaves what a body does not mention. `options`: annotations."""
    body: dict[str, Any] = web("ClusterIP")
    body["metadata"]["annotations"] |= {**NO_OPTIONS, **(options or {})}
    body["spec"] |= {**UNSET, "type": "LoadBalancer", "externalIPs": list(EXTERNALS), **spec}
    await mesh.lab.apply("east", body)
    await _assign(mesh, *BALANCERS)


async def _assign(mesh: Mesh, *addresses: str) -> None:
    status = {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}
    async with mesh.lab.kubernetes("east") as api:
        await api.merge_patch(SERVICE, "web", {"status": status}, NAMESPACE, subresource="status")


@pytest.fixture
async def served(mesh: Mesh) -> AsyncIterator[Mesh]:
    await mesh.spread()
    await mesh.lab.apply("west", web("ClusterIP"))
    yield mesh
    await _assign(mesh)
    for cluster in BOTH:
        before = plain()
        before["spec"] |= {"type": "ClusterIP", **UNSET}
        before["metadata"]["annotations"] |= NO_OPTIONS
        await mesh.lab.apply(cluster, before)


def at(*addresses: str, protocol: str = "TCP", times: int = TIMES) -> list[Target]:
    return [Target(address, 80, protocol, times) for address in addresses]


async def route(mesh: Mesh, client: str, number: int) -> tuple[str, str]:
    """The client's way to all addresses is east's node of this number: its own addresses."""
    node = mesh.plan.cluster("east").nodes[number]
    ways = str(node.ip), str(node.ip6)
    for addresses in (BALANCERS, EXTERNALS):
        for address, way in zip(addresses, ways, strict=True):
            await inside(client, "ip", "route", "replace", address, "via", way)
    return ways


async def test_both_clusters_answer_at_addresses_that_no_node_has(served: Mesh, client: str) -> None:
    await balance(served)
    for number in (1, 2):
        await route(served, client, number)
        for protocol in ("TCP", "UDP"):
            await until_from(lambda p=protocol: knock_from(client, at(*EVERYWHERE, protocol=p)), BOTH)


async def test_only_clients_of_the_source_ranges_are_served(served: Mesh, client: str) -> None:
    await route(served, client, 1)
    await balance(served, loadBalancerSourceRanges=[f"{ADDRESS}/32", f"{ADDRESS6}/128"])
    await until_from(lambda: knock_from(client, at(*EVERYWHERE)), BOTH)
    await balance(served, loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8:9::/64"])
    quick = [Target(address, 80, "TCP", 1, 0.5) for address in BALANCERS]
    await until_from(lambda: knock_from(client, quick), {""})
    await until_from(lambda: knock_from(client, at(*EXTERNALS)), BOTH)
    await until_from(lambda: knock(served, "east", served.clients["east"], at(*BALANCERS)), BOTH)


async def test_options_of_one_cluster_say_who_is_served_where_and_a_change_of_type_counts_at_once(
    served: Mesh, client: str
) -> None:
    await route(served, client, 1)
    quick = [Target(BALANCER, 80, "TCP", 1, 0.5)]
    await balance(served, {SOURCE_RANGES_POLICY: "deny"}, loadBalancerSourceRanges=[f"{ADDRESS}/32"])
    await until_from(lambda: knock_from(client, at(EXTERNAL)), BOTH)
    await until_from(lambda: knock_from(client, quick), {""})
    await balance(served, {SOURCE_RANGES_POLICY: "deny"}, loadBalancerSourceRanges=["192.0.2.0/24"])
    await until_from(lambda: knock_from(client, at(BALANCER)), BOTH)
    await balance(served, {NODE: "front"})
    await until_from(lambda: knock_from(client, quick), {""})
    await label(served, 1, "front")
    await until_from(lambda: knock_from(client, at(BALANCER)), BOTH)
    await label(served, 1, None)
    await until_from(lambda: knock_from(client, quick), {""})
    await balance(served, {TYPE: "NodePort"})
    await until_from(lambda: knock_from(client, at(EXTERNAL)), BOTH)
    await until_from(lambda: knock_from(client, quick), {""})
    await balance(served)
    await until_from(lambda: knock_from(client, at(BALANCER)), BOTH)
    await balance(served, type="ClusterIP")  # its status still has the address
    await until_from(lambda: knock_from(client, at(EXTERNAL)), BOTH)
    await until_from(lambda: knock_from(client, quick), {""})


async def label(mesh: Mesh, number: int, value: str | None) -> None:
    """East's node of this number is, or is not, one for services that are for `value`."""
    name = mesh.plan.cluster("east").nodes[number].name
    async with mesh.lab.kubernetes("east") as api:
        await api.merge_patch(resource.NODE, name, {"metadata": {"labels": {NODE: value}}})


async def test_a_node_tells_its_balancer_of_its_own_pods_and_serves_them_alone(
    served: Mesh, client: str
) -> None:
    await balance(served, externalTrafficPolicy="Local", healthCheckNodePort=HEALTH_PORT)
    node, node6 = await route(served, client, 1)
    await until_from(lambda: knock_from(client, at(*EVERYWHERE)), {"east"})
    first, *others = await knock_from(client, at(*EVERYWHERE))
    assert others == [first] * 3
    assert len(first) == 1
    await until_from(lambda: knock(served, "east", served.clients["east"], at(*BALANCERS)), BOTH)
    urls = [f"http://{ip}:{HEALTH_PORT}/healthz" for ip in (node, f"[{node6}]")]
    curl = ("curl", "-s", "-o", "/dev/null", "-m", "2", "-w", "%{http_code}")

    async def says(code: str) -> bool:
        return {await inside(client, *curl, url) for url in urls} == {code}

    await eventually(lambda: says("200"), 10, 0.1)
    await served.lab.scale("east", "web", 0)
    await eventually(lambda: says("503"), 20, 0.1)
