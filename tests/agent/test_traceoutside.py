"""What a client outside meets at this node, and what it is told where it is not let in."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from agent.errors import NotFoundError, RequestError
from agent.ipcache import IPCacheEntry, Level, Rank
from agent.ownslices import Slice
from cli import tracetext
from mesh.localservice import LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.policy import parse_policy
from mesh.service import Port
from tests.agent.peerdata import PeerData
from tests.agent.test_trace import NODE_2, Traced
from tests.agent.test_verdict import policy
from tests.agent.values import NODE

WEST = PeerData()
CLIENT, BALANCER = "192.0.2.9", "203.0.113.7"
GLOBAL = {"service.cilium.io/global": "true"}
PORT = 30080
WEB = LocalService(
    *("shop", "web", GLOBAL, ("172.20.1.5", BALANCER), (ServicePort("http", "TCP", 80, node_port=PORT),)),
    balancer_ips=(BALANCER,),
)
HERE, FAR = "10.1.1.5", tuple(WEST.ips)


@asynccontextmanager
async def served(service: LocalService = WEB) -> AsyncGenerator[Traced]:
    traced = Traced()
    async with traced.filled():
        member = LocalBackend(HERE, {"http": Port("TCP", 8080)}, node=NODE.name)
        traced.tables.services.set_slice("shop/web-1", Slice("shop/web", (member,)))
        traced.tables.services.set_local("shop/web", service)
        await traced.settled()
        yield traced


async def told(traced: Traced, at: str = NODE.ip, port: int = PORT, client: str = CLIENT) -> Any:
    return await traced.tell(at, port, f"client:{client}")


async def test_a_node_port_leads_to_every_backend_and_only_a_pod_here_sees_the_client() -> None:
    async with served() as traced:
        rank = Rank(Level.PEER_NODE, "x", "n")
        traced.tables.ipcache.upsert(f"{CLIENT}/32", rank, IPCacheEntry(1 << 24 | 5, None))
        await traced.settled()
        found = await told(traced)
    assert (found["service"]["name"], found["refused"], found["differences"]) == ("shop/web", "", [])
    here, *far = found["paths"]
    assert (here["address"], here["delivery"]["way"], here["ingress"]["decided-by"]) == (
        HERE,
        "local",
        "this node",
    )
    assert [path["address"] for path in far] == list(FAR)
    assert {path["delivery"]["vni"] for path in far} == {2}, "a CIDR's number means nothing elsewhere"
    text = tracetext.as_text(found)
    assert text.startswith(f"from client {CLIENT}, identity {1 << 24 | 5}")


async def test_policy_at_a_pod_here_decides_over_the_client() -> None:
    async with served(replace(WEB, outside_node_only=True)) as traced:
        rules = {"ingress": [{"fromEntities": ["cluster"]}]}
        traced.tables.policies.commit({"shop/p": parse_policy(policy("web", rules))})
        await traced.settled()
        found = await told(traced)
    (path,) = found["paths"]
    assert (path["address"], path["ingress"]["verdict"], found["verdict"]) == (HERE, "denied", "denied")


async def test_a_policy_for_clients_outside_is_the_reason_of_who_does_not_serve_them() -> None:
    async with served(replace(WEB, outside_node_only=True)) as traced:
        outside, inside = await told(traced), await traced.tell(BALANCER)
    reasons = {each["ip"]: each["reason"] for each in outside["service"]["candidates"] if not each["chosen"]}
    assert reasons == dict.fromkeys(FAR, "its traffic policy is Local: only the node itself serves")
    assert len(inside["paths"]) == 1 + len(FAR)


@pytest.mark.parametrize("deny", [False, True])
@pytest.mark.parametrize("client", [CLIENT, "198.51.100.1"])
async def test_who_is_not_in_the_source_ranges_is_refused_at_the_balancer_s_address_alone(
    client: str, deny: bool
) -> None:
    async with served(replace(WEB, source_ranges=("192.0.2.0/24",), ranges_deny=deny)) as traced:
        found, at_node = await told(traced, BALANCER, 80, client), await told(traced, client=client)
    is_in = client == CLIENT
    assert bool(found["paths"]) == (is_in != deny)
    assert (found["verdict"] == "denied") == (is_in == deny)
    if is_in == deny:
        assert (
            f"{client} is {'' if is_in else 'not '}in the {'denied' if deny else 'allowed'}"
            in found["refused"]
        )
        assert f"  refused: {client} is" in tracetext.as_text(found)
    assert at_node["paths"]


async def test_a_service_is_found_by_its_name_where_it_is_for_clients_outside() -> None:
    async with served() as traced:
        assert (await told(traced, "shop/web", 80))["service"]["frontend"] == f"{BALANCER}:80/TCP"
        assert (await told(traced, "shop/web"))["service"]["frontend"] == f"{NODE.ip}:{PORT}/TCP"
        with pytest.raises(NotFoundError, match=f"it is at {NODE.ip}:{PORT}/TCP, {BALANCER}:80/TCP"):
            await told(traced, "shop/web", 81)
        for address in ("172.20.1.5", "0.0.0.0", NODE_2):
            with pytest.raises(NotFoundError, match="is for clients outside"):
                await told(traced, address, 80 if address == "172.20.1.5" else PORT)


async def test_who_is_no_client_outside_is_told_so() -> None:
    async with served() as traced:
        for pod in (HERE, FAR[0]):
            with pytest.raises(RequestError, match="is a pod's address"):
                await told(traced, client=pod)
        with pytest.raises(RequestError, match="is not a client's IP address"):
            await told(traced, client="me")
        assert "another family" in (await told(traced, client="2001:db8::9"))["refused"]
