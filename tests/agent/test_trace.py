"""The way of a connection, from tables and maps that agree, and from maps that do not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from agent.errors import NotFoundError, RequestError
from agent.ipcache import IPCacheEntry, Level, Rank
from agent.ownslices import Slice
from agent.peerstate import PeerState
from agent.trace import Names, Tracer
from bpf import endpoint_map, ipcache_map, policy_map
from bpf.lb_steps import Table
from mesh.localservice import LocalBackend, LocalService
from mesh.matching import ServicePort
from mesh.policy import parse_policy
from mesh.service import Port
from tests.agent.fakemap import FakeKernel
from tests.agent.peerdata import PeerData
from tests.agent.test_datapath import Loop, key, listed_alone
from tests.agent.test_tables import fill
from tests.agent.test_verdict import policy
from tests.agent.values import endpoint, labels, number, tables

WEST = PeerData()
ELSEWHERE = "10.1.2.7"  # a pod on another node of our cluster
NODE_2 = "198.18.1.12"


class Traced(Loop):
    def __init__(self) -> None:
        self.kernel = FakeKernel()
        world = tables()
        maps = self.kernel.maps(world)
        super().__init__(world, maps)
        names = Names(
            node=lambda ip: "west/node-1" if ip == WEST.node_ip else "",
            pod=lambda pod: [ELSEWHERE] if pod == "shop/far-1" else [],
            withdrawn=lambda: {WEST.node_ip: "it does not answer any more"},
        )
        self.tracer = Tracer(world, maps, names)

    @asynccontextmanager
    async def filled(self, annotations: dict[str, str] | None = None) -> AsyncGenerator[None]:
        """A client and a web pod here, web in west, a pod on another node of ours."""
        world = self.tables
        async with self.running():
            fill(PeerState("west", world), WEST)
            world.identities.commit({number(1, 50): labels("far")})
            far = IPCacheEntry(number(1, 50), NODE_2)
            world.ipcache.upsert(f"{ELSEWHERE}/32", Rank(Level.LOCAL_ENDPOINT, owner="shop/far-1"), far)
            world.upsert_endpoint(endpoint(1, "client"))
            world.upsert_endpoint(endpoint(4, "web"))
            said = {"service.cilium.io/global": "true"} if annotations is None else annotations
            ports = (ServicePort("http", "TCP", 80),)
            world.services.set_local("shop/web", LocalService("shop", "web", said, ("172.20.1.5",), ports))
            members = (LocalBackend("10.1.1.5", {"http": Port("TCP", 8080)}),)
            world.services.set_slice("shop/web-1", Slice("shop/web", members))
            listed_alone(world)
            world.services.set_addressed(WEST.ips)
            await self.settled()
            yield

    async def tell(self, destination: str = "web", port: int = 80, source: str = "shop/client-1") -> Any:
        return await self.tracer.trace(source, destination, port)


@pytest.mark.parametrize(
    "name", ["web", "shop/web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "172.20.1.5"]
)
async def test_a_service_is_found_by_any_of_its_names(name: str) -> None:
    traced = Traced()
    async with traced.filled():
        found = await traced.tell(name)
    assert found["service"]["name"] == "shop/web"
    assert found["service"]["frontend"] == "172.20.1.5:80/TCP"
    assert [each["address"] for each in found["paths"]] == ["10.1.1.5", *WEST.ips]


async def test_each_backend_has_its_identity_its_verdicts_and_its_way() -> None:
    traced = Traced()
    async with traced.filled():
        found = await traced.tell()
    assert (found["verdict"], found["differences"]) == ("unknown", [])
    assert found["source"]["pod"] == "shop/client-1"
    here, there, _ = found["paths"]
    assert here["delivery"] == {"way": "local", "endpoint": 4, "pod": "shop/web-4"}
    assert (here["ingress"]["verdict"], here["ingress"]["decided-by"]) == ("allowed", "this node")
    assert there["delivery"] == {
        "way": "tunnel",
        "node": WEST.node_ip,
        "node-name": "west/node-1",
        "vni": number(1, 1),
    }
    assert (there["identity"], there["prefix"], there["told-by"]) == (
        WEST.identity,
        "10.2.1.5/32",
        "cluster west",
    )
    assert there["egress"]["reason"] == "no policy selects it"
    assert (there["ingress"]["verdict"], there["ingress"]["decided-by"]) == ("unknown", "cluster west")


async def test_affinity_and_withdrawal_are_the_reasons_of_who_does_not_serve() -> None:
    traced = Traced()
    async with traced.filled({"service.cilium.io/global": "true", "service.cilium.io/affinity": "local"}):
        found = await traced.tell()
        assert [each["cluster"] for each in found["service"]["candidates"]] == ["east", "west", "west"]
        assert "affinity local" in found["service"]["candidates"][1]["reason"]
        assert found["verdict"] == "allowed"
        traced.tables.services.set_withdrawn(frozenset({WEST.ips[0]}))
        await traced.settled()
        found = await traced.tell()
        reasons = {each["ip"]: each["reason"] for each in found["service"]["candidates"]}
    assert reasons[WEST.ips[0]] == f"withdrawn: node {WEST.node_ip}: it does not answer any more"


async def test_a_denial_names_its_policy_on_either_side() -> None:
    traced = Traced()
    async with traced.filled():
        deny = policy("no-client", {"ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "client"}}]}]})
        traced.tables.policies.commit({"shop/no-client": parse_policy(deny)})
        await traced.settled()
        found = await traced.tell("10.1.1.5", 8080)
        assert found["verdict"] == "denied"
        assert found["differences"] == []
        assert found["paths"][0]["ingress"]["reason"] == "denied by shop/no-client"
        assert found["service"] is None
        other = await traced.tell("10.1.1.5", 8080, source=f"identity:{number(1, 1)}")
        assert (other["verdict"], other["paths"][0]["egress"]) == ("denied", None)


async def test_a_pod_of_ours_on_another_node_is_judged_by_the_policies_of_both() -> None:
    traced = Traced()
    async with traced.filled():
        far = policy("far", {"ingress": [{}]})
        far["spec"]["endpointSelector"] = {"matchLabels": {"app": "far"}}
        far["spec"]["ingress"] = [{"fromEndpoints": [{"matchLabels": {"app": "nobody"}}]}]
        traced.tables.policies.commit({"shop/far": parse_policy(far)})
        await traced.settled()
        (path,) = (await traced.tell("shop/far-1", 8080))["paths"]
    assert path["delivery"]["node"] == NODE_2
    assert path["ingress"]["verdict"] == "denied"
    assert path["ingress"]["decided-by"] == "its node, by the same policies"


async def test_an_address_outside_of_the_mesh_is_the_world_and_nobody_protects_it() -> None:
    traced = Traced()
    async with traced.filled():
        (path,) = (await traced.tell("203.0.113.9", 443))["paths"]
    assert (path["identity"], path["prefix"], path["delivery"]["way"]) == (2, "", "direct")
    assert (path["ingress"]["verdict"], path["ingress"]["decided-by"]) == ("allowed", "nobody")


async def test_maps_that_say_something_else_are_told() -> None:
    traced = Traced()
    async with traced.filled():
        kernel = traced.kernel
        deny = policy("no-client", {"ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "client"}}]}]})
        traced.tables.policies.commit({"shop/no-client": parse_policy(deny)})
        await traced.settled()
        del kernel.ipcache.entries[key(f"{WEST.ips[0]}/32")]
        kernel.policy.entries = {
            raw: policy_map.pack_value()
            for raw in kernel.policy.entries  # every deny becomes an allow
        }
        del kernel.endpoints.entries[endpoint_map.pack_key("10.1.1.2")]
        kernel.services.maps[Table.SERVICES].entries.clear()
        found = await traced.tell()
    assert set(found["differences"]) == {
        "cilium_lb4_services_v2 has no entry for 172.20.1.5:80/TCP",
        f"cilium_ipcache_v2 answers nothing for {WEST.ips[0]}, "
        f"wanted is identity {WEST.identity} behind {WEST.node_ip}",
        "cilium_lxc does not have 10.1.1.2 as endpoint 1",
        f"cilium_policy says allowed to identity {number(1, 1)} at endpoint 4's ingress",
    }
    assert ipcache_map.pack_key(WEST.ips[0]) == key(f"{WEST.ips[0]}/32")


@pytest.mark.parametrize(
    ("destination", "port", "source", "error", "words"),
    [
        ("web", 81, "shop/client-1", NotFoundError, r"no entry for 81/TCP; its ports: 80/TCP"),
        ("172.20.1.5", 81, "shop/client-1", NotFoundError, r"has no port 81/TCP: 80/TCP"),
        ("nobody", 80, "shop/client-1", NotFoundError, "no service and no pod"),
        ("web", 80, "shop/other", NotFoundError, "ask the agent on its node"),
        ("web", 80, "identity:x", RequestError, "not an identity's number"),
        (ELSEWHERE, 80, "identity:7", RequestError, "no endpoint of this node"),
    ],
)
async def test_what_is_not_there_is_said_with_what_is(
    destination: str, port: int, source: str, error: type[Exception], words: str
) -> None:
    traced = Traced()
    async with traced.filled():
        with pytest.raises(error, match=words):
            await traced.tell(destination, port, source)


async def test_a_service_without_backends_has_no_way() -> None:
    traced = Traced()
    async with traced.filled({}):
        traced.tables.services.set_slice("shop/web-1", None)
        await traced.settled()
        found = await traced.tell()
    assert (found["verdict"], found["paths"]) == ("no backend", [])
    reasons = {each["reason"] for each in found["service"]["candidates"]}
    assert reasons == {"the Service here is not global"}


async def test_a_service_of_both_families_is_told_at_each_address_with_its_own_backends() -> None:
    traced = Traced()
    six = "fd00:10:1:1::5"
    async with traced.filled():
        world = traced.tables
        web = msgspec.structs.replace(endpoint(4, "web"), ipv6=six)
        world.upsert_endpoint(web)
        local = replace(world.services.local["shop/web"], cluster_ips=("172.20.1.5", "fd00:20:1::5"))
        world.services.set_local("shop/web", local)
        members = (LocalBackend(six, {"http": Port("TCP", 8080)}),)
        world.services.set_slice("shop/web-2", Slice("shop/web", members))
        await traced.settled()
        said = await traced.tell("fd00:20:1::5")
        assert said["service"]["frontend"] == "[fd00:20:1::5]:80/TCP"
        assert [(each["ip"], each["chosen"]) for each in said["service"]["candidates"]] == [(six, True)]
        (path,) = said["paths"]
        assert (path["address"], path["delivery"]["pod"], said["differences"]) == (six, "shop/web-4", [])
        old = await traced.tell("172.20.1.5")
        assert all(":" not in each["ip"] for each in old["service"]["candidates"])
        assert {each["address"] for each in (await traced.tell("shop/web-4", 8080))["paths"]} == {
            "10.1.1.5",
            six,
        }
        traced.kernel.services.maps6[Table.BACKENDS].entries.clear()
        del traced.kernel.endpoints.entries[endpoint_map.pack_key(six)]
        differences = (await traced.tell("fd00:20:1::5"))["differences"]
        assert f"cilium_lb6_services_v2 lacks backend [{six}]:8080" in differences
        assert f"cilium_lxc does not have {six} as endpoint 4" in differences
