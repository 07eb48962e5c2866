"""Every way to a backend: family, protocol, where the backend is, how it is addressed, allowed and denied.

Asked once for all: one client knocks at everything, first with nothing in its way, then with policies in
both clusters that deny it. Each test is one cell.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import msgspec
import pytest

from aiokit.wait import eventually
from e2e.conftest import CLUSTERS, Mesh
from e2e.knocking import Target, knock
from k8s.resource import ENDPOINTSLICE, POD, SERVICE
from lab.demo.objects import ECHO_PORT, NAMESPACE, Object, deny_policy, service

FAMILIES = ("IPv4", "IPv6")
PROTOCOLS = ("TCP", "UDP")
PLACES = ("same node", "other node", "other cluster")
KINDS = ("ClusterIP", "headless", "NodePort")
SERVICE_PORT = 80
ALLOWED_TIMES = 60  # of four backends, one is left out by chance in one of 10**7 runs
DENIED_TIMES, DENIED_SECONDS = 8, 0.25
CHANGE_SECONDS = 30.0
DENY = "matrix-denies-east-client"

Way = tuple[str, str, str]  # family, protocol, kind


@dataclass(frozen=True)
class Seen:
    """Who answered on each way; `pods` is each place's pods, as `cluster/pod`."""

    pods: dict[str, set[str]]
    allowed: dict[Way, Counter[str]]
    denied: dict[Way, Counter[str]]


def _service(name: str, **spec: Any) -> Object:
    said = service(name)
    said["spec"] |= {"selector": {"app": "web"}, "ipFamilyPolicy": "RequireDualStack", **spec}
    said["spec"]["ports"] = [
        {"name": protocol.lower(), "port": SERVICE_PORT, "targetPort": ECHO_PORT, "protocol": protocol}
        for protocol in PROTOCOLS
    ]
    return said


SERVICES = {
    "ClusterIP": _service("matrix", type="NodePort"),
    "headless": _service("matrix-headless", clusterIP="None"),
}


async def _object(mesh: Mesh, name: str) -> dict[str, Any]:
    async with mesh.lab.kubernetes("east") as client:
        found: dict[str, Any] = msgspec.json.decode(await client.get(SERVICE, name, NAMESPACE) or b"{}")
        return found


async def _headless(mesh: Mesh, family: str) -> list[str]:
    """All addresses that east's API server has for the headless Service: its own and the mirrored ones."""
    found: list[str] = []

    async def are_complete() -> bool:
        label = f"kubernetes.io/service-name={SERVICES['headless']['metadata']['name']}"
        async with mesh.lab.kubernetes("east") as client:
            raw = await client.list(ENDPOINTSLICE, NAMESPACE, label_selector=label)
        pieces = [msgspec.json.decode(each) for each in raw]
        found[:] = [
            address
            for piece in pieces
            if piece["addressType"] == family
            for endpoint in piece["endpoints"] or ()
            for address in endpoint["addresses"]
        ]
        return len(set(found)) == 4

    await eventually(are_complete, CHANGE_SECONDS, 0.1)
    return found


async def _places(mesh: Mesh) -> dict[str, set[str]]:
    """Web's pods by where they are, seen from east's client."""
    nodes: dict[str, str] = {}
    for cluster in CLUSTERS:
        async with mesh.lab.kubernetes(cluster) as client:
            for raw in await client.list(POD, NAMESPACE):
                pod = msgspec.json.decode(raw)
                if pod["metadata"].get("labels", {}).get("app") in ("web", "client"):
                    nodes[f"{cluster}/{pod['metadata']['name']}"] = pod["spec"]["nodeName"]
    here = nodes[f"east/{mesh.clients['east']}"]
    web = {name: node for name, node in nodes.items() if "/web-" in name}
    return {
        "same node": {name for name, node in web.items() if name.startswith("east/") and node == here},
        "other node": {name for name, node in web.items() if name.startswith("east/") and node != here},
        "other cluster": {name for name in web if name.startswith("west/")},
    }


async def _targets(mesh: Mesh, times: int, seconds: float) -> list[tuple[Way, Target]]:
    found: list[tuple[Way, Target]] = []
    said = (await _object(mesh, SERVICES["ClusterIP"]["metadata"]["name"]))["spec"]
    node_ports = {port["protocol"]: port["nodePort"] for port in said["ports"]}
    node = await mesh.node_of_client("east")
    assert node.pod_cidr6 is not None
    node_ips = {"IPv4": str(node.ip), "IPv6": str(node.pod_cidr6[1])}
    for family, protocol in product(FAMILIES, PROTOCOLS):
        address = next(ip for ip in said["clusterIPs"] if (":" in ip) == (family == "IPv6"))
        found += [
            ((family, protocol, "ClusterIP"), Target(address, SERVICE_PORT, protocol, times, seconds)),
            (
                (family, protocol, "NodePort"),
                Target(node_ips[family], node_ports[protocol], protocol, times, seconds),
            ),
        ]
        for address in await _headless(mesh, family):
            target = Target(address, ECHO_PORT, protocol, max(1, times // 8), seconds)
            found.append(((family, protocol, "headless"), target))
    return found


async def _knock(mesh: Mesh, times: int, seconds: float) -> dict[Way, Counter[str]]:
    targets = await _targets(mesh, times, seconds)
    answers = await knock(mesh, "east", mesh.clients["east"], [target for _, target in targets])
    found = {way: Counter[str]() for way, _ in targets}
    for (way, _), each in zip(targets, answers, strict=True):
        found[way] += each
    return found


async def _until(
    mesh: Mesh, times: int, seconds: float, is_so: Callable[[Counter[str]], bool]
) -> dict[Way, Counter[str]]:
    """Knock until it is so on every way, as news must travel; after CHANGE_SECONDS what there is, for the
    cells to judge."""
    deadline = time.monotonic() + CHANGE_SECONDS
    while True:
        found = await _knock(mesh, times, seconds)
        if all(map(is_so, found.values())) or time.monotonic() > deadline:
            return found


async def _collect(mesh: Mesh) -> Seen:
    await mesh.spread()
    for cluster in CLUSTERS:
        await mesh.lab.apply(cluster, *SERVICES.values())
    pods = await _places(mesh)
    everyone = set().union(*pods.values())
    allowed = await _until(mesh, ALLOWED_TIMES, 2.0, lambda answers: set(answers) == everyone)
    deny = deny_policy(DENY, protects="web", app="client", cluster="east")
    for cluster in CLUSTERS:
        await mesh.lab.apply(cluster, deny)
    denied = await _until(mesh, DENIED_TIMES, DENIED_SECONDS, lambda answers: set(answers) == {""})
    return Seen(pods, allowed, denied)


async def _remove(mesh: Mesh) -> None:
    for cluster in CLUSTERS:
        await mesh.lab.delete(cluster, "CiliumNetworkPolicy", DENY)
        for each in SERVICES.values():
            await mesh.lab.delete(cluster, "Service", each["metadata"]["name"])


@pytest.fixture(scope="module")
def seen(connected: Mesh) -> Iterator[Seen]:
    try:
        yield asyncio.run(_collect(connected))
    finally:
        asyncio.run(_remove(connected))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", list(product(FAMILIES, PROTOCOLS, KINDS)), ids=" ".join)
def test_it_answers(seen: Seen, way: Way, place: str) -> None:
    assert seen.pods[place]
    assert seen.pods[place] <= seen.allowed[way].keys()
    assert not seen.allowed[way][""]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", list(product(FAMILIES, PROTOCOLS, KINDS)), ids=" ".join)
def test_it_is_denied(seen: Seen, way: Way, place: str) -> None:
    assert not seen.pods[place] & seen.denied[way].keys()
    assert seen.denied[way][""]
