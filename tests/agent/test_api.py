"""The REST API over a real unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent import api
from agent.agent import Agent
from aiokit.http import serve_tcp, serve_unix
from aiokit.wait import eventually
from k8s.client import Client
from kvstore.memory import MemoryBackend
from mesh.keys import Kind
from mesh.localservice import LocalService
from mesh.matching import ServicePort
from peering.peers import Peers
from tests.agent.peerdata import FILE, PeerData
from tests.agent.peering import Peering
from tests.agent.station import Station, add_pods
from tests.agent.values import endpoint, number

WEST = PeerData()


@asynccontextmanager
async def served(agent: Agent, path: Path) -> AsyncGenerator[aiohttp.ClientSession]:
    socket = path / "run" / "agent.sock"
    async with (
        serve_unix(api.application(agent), socket),
        aiohttp.ClientSession("http://agent", connector=aiohttp.UnixConnector(str(socket))) as session,
    ):
        yield session


async def ask(session: aiohttp.ClientSession, path: str, method: str = "GET", **body: Any) -> tuple[int, Any]:
    async with session.request(method, path, json=body or None) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


@asynccontextmanager
async def with_west(station: Station, store: MemoryBackend, path: Path) -> AsyncGenerator[Peering]:
    """The station's agent with one peer, configured by a file."""
    peering = Peering(store, station.tables)
    station.agent.states["west"] = peering.state
    peers = station.agent.peers = Peers(path, "east", lambda _: peering.peer, station.tables.settle)
    station.tables.set_peer_listings(station.agent.peer_listings)
    (path / "west").write_bytes(FILE)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(peers.run(), name="peers")
        yield peering
        task.cancel()


async def test_a_starting_agent_answers_that_it_is_not_ready(tmp_path: Path) -> None:
    async with served(Agent("east", "node-1"), tmp_path) as session:
        assert (await ask(session, "/healthz"))[0] == 503
        code, status = await ask(session, "/v1/healthz")
        assert code == 200
        assert status["cilium"]["state"] == "Warning"
        assert status["cluster-mesh"] == {"clusters": []}
        code, problem = await ask(session, "/v1/ipam?owner=shop/web", "POST")
        assert (code, problem["message"]) == (503, "the agent is starting")


async def test_a_plugins_whole_conversation(station: Station, client: Client, tmp_path: Path) -> None:
    await add_pods(client, ["web-1"])
    async with station.running(), served(station.agent, tmp_path) as session:
        code, allocated = await ask(session, "/v1/ipam?owner=shop/web-1", "POST")
        assert code == 201
        assert allocated["ipv4"]["gateway"] == "10.1.1.1"
        ip, ip6 = allocated["address"]["ipv4"], allocated["address"]["ipv6"]
        assert (allocated["ipv6"]["ip"], allocated["ipv6"]["gateway"]) == (ip6, "fe80::1")
        assert allocated["ipv6"]["cidrs"] == ["fd00:10:1:1::/64"]
        request = {
            "container-id": "c1",
            "interface-name": "lxc1",
            "interface-index": 101,
            "mac": "02:00:00:00:00:01",
            "host-mac": "02:00:00:00:01:01",
            "addressing": {"ipv4": ip, "ipv6": ip6.upper()},
            "k8s-pod-name": "web-1",
            "k8s-namespace": "shop",
            "netns-cookie": "17",
            "sync-build-endpoint": True,
        }
        code, made = await ask(session, "/v1/endpoint/c1", "PUT", **request)
        assert (code, made["status"]["state"]) == (201, "ready")
        assert (await ask(session, "/v1/endpoint"))[1] == [made]
        for name in ("c1", "container-id:c1", str(made["id"]), "pod-name:shop/web-1"):
            assert (await ask(session, f"/v1/endpoint/{name.replace('/', '%2F')}"))[1] == made
        assert (await ask(session, "/v1/ipam"))[1]["allocations"] == dict.fromkeys((ip, ip6), "shop/web-1")
        for cidr in (f"{ip}/32", f"{ip6}/128"):
            (entry,) = (await ask(session, f"/v1/ip?cidr={cidr}"))[1]
            assert (entry["cidr"], entry["identity"]) == (cidr, made["status"]["identity"]["id"])
        assert made["status"]["networking"]["addressing"] == [{"ipv4": ip, "ipv6": ip6}]
        identities = (await ask(session, "/v1/identity"))[1]
        assert made["status"]["identity"] in [{k: i[k] for k in ("id", "labels")} for i in identities]
        assert (await ask(session, "/v1/endpoint/c1", "DELETE"))[0] == 200
        assert (await ask(session, "/v1/endpoint/c1", "DELETE"))[0] == 404
        for address, code in ((ip, 200), (ip6, 200), (ip6, 404)):
            assert (await ask(session, f"/v1/ipam/{address}", "DELETE"))[0] == code


@pytest.mark.parametrize(
    ("request_", "body", "code"),
    [
        ("POST /v1/ipam", {}, 400),
        ("POST /v1/ipam?owner=a/b&family=ipv5", {}, 400),
        ("PUT /v1/endpoint/c1", {"container-id": "c2"}, 400),
        ("PUT /v1/endpoint/c1", {"interface-index": "no number"}, 400),
        ("PUT /v1/endpoint/c1", {"mac": "xx"}, 400),
        ("GET /v1/endpoint/nobody", {}, 404),
        ("GET /v1/map/nothing", {}, 404),
        ("GET /v1/identity/12345", {}, 404),
        ("GET /v1/ip?cidr=garbage", {}, 400),
    ],
)
async def test_wrong_requests_are_refused_with_a_reason(
    station: Station, tmp_path: Path, request_: str, body: dict[str, Any], code: int
) -> None:
    async with station.running(), served(station.agent, tmp_path) as session:
        method, path = request_.split()
        station.tables.upsert_endpoint(endpoint(1))
        answered, problem = await ask(session, path, method, **body)
        assert answered == code
        assert problem["message"]


async def test_a_peer_is_ready_only_when_the_kernel_has_it(station: Station, tmp_path: Path) -> None:
    store = MemoryBackend()
    await WEST.publish(store)
    async with station.running(), served(station.agent, tmp_path) as session:
        station.kernel.ipcache.failing = 10**6
        async with with_west(station, store, tmp_path) as peering:
            await eventually(lambda: peering.is_ready)
            (west,) = (await ask(session, "/v1/healthz"))[1]["cluster-mesh"]["clusters"]
            assert west["connected"]
            assert not west["programmed"]
            assert "ready" not in west
            station.kernel.ipcache.failing = 0
            await eventually(lambda: station.agent.is_programmed(peering.state))
            (west,) = (await ask(session, "/v1/healthz"))[1]["cluster-mesh"]["clusters"]
            assert west["ready"]
            assert west["programmed"]


async def test_a_peer_is_shown_with_ciliums_field_names(station: Station, tmp_path: Path) -> None:
    store = MemoryBackend()
    await WEST.publish(store)
    await store.put(WEST.prefix(Kind.IPS) + b"10.2.1.66", b"no json")
    async with (
        station.running(),
        served(station.agent, tmp_path) as session,
        with_west(station, store, tmp_path) as peering,
    ):
        await eventually(lambda: peering.is_ready)
        await eventually(lambda: station.agent.is_programmed(peering.state))
        (west,) = (await ask(session, "/v1/healthz"))[1]["cluster-mesh"]["clusters"]
        assert west.pop("digests").keys() == {"nodes", "identities", "ips", "services"}
        assert list(west.pop("refusals").values()) == [1]
        assert list(west.pop("refused-now").values()) == [1]
        assert west.pop("outside-addresses") == 0
        assert 0 < west.pop("round-trip-ms") < 1000
        assert west.pop("status").startswith("etcd: 1/1 connected")
        assert west == {
            "name": "west",
            "connected": True,
            "ready": True,
            "programmed": True,
            "config": {
                "required": True,
                "retrieved": True,
                "cluster-id": 2,
                "kvstoremesh": False,
                "sync-canaries": True,
                "endpoint-slices-export-mode": "",
            },
            "synced": {"nodes": True, "endpoints": True, "identities": True, "services": True},
            "num-nodes": 1,
            "num-endpoints": 2,
            "num-identities": 1,
            "num-shared-services": 1,
            "last-failure": "0001-01-01T00:00:00Z",
            "control-plane": "ok",
            "data-plane": "unknown",
            "num-nodes-probed": 0,
            "num-backends-withdrawn": 0,
            "nodes-withdrawn": {},
        }
        nodes = (await ask(session, "/v1/cluster/nodes"))[1]
        assert nodes["self"] == "east/node-1"
        assert [node["name"] for node in nodes["nodes"]] == ["west/node-1"]
        numbered = (await ask(session, "/v1/node/ids"))[1]
        assert numbered == [{"id": 0, "ips": []}, {"id": 1, "ips": [WEST.node_ip, "10.2.1.1"]}]


async def test_a_removed_peer_is_not_shown_any_more(station: Station, tmp_path: Path) -> None:
    store = MemoryBackend()
    await WEST.publish(store)
    async with station.running(), with_west(station, store, tmp_path) as peering:
        await eventually(lambda: peering.is_ready)
        clusters = 'cilium_clustermesh_remote_clusters{source_cluster="east"}'
        assert station.agent.metrics()[clusters] == 1
        (tmp_path / "west").unlink()
        await eventually(lambda: station.agent.remote_clusters() == [])
        assert station.agent.nodes()["nodes"] == []
        assert station.agent.metrics()[clusters] == 0


async def test_metrics_tell_how_long_the_certificates_towards_peers_are_valid(
    station: Station, tmp_path: Path
) -> None:
    async with with_west(station, MemoryBackend(), tmp_path):
        (tmp_path / "west").write_bytes(FILE + b"trusted-ca-file: /absent/ca.crt\n")
        name = 'clustermesh_certificate_remaining_seconds{file="/absent/ca.crt"}'
        await eventually(lambda: station.agent.metrics().get(name) == 0)


DENIED = {"number": 133, "reason": "policy denied", "direction": "egress", "packets": 2, "bytes": 120}


async def test_over_tcp_only_probes_and_metrics_are_served(station: Station) -> None:
    async with (
        station.running(),
        serve_tcp(api.probes(station.agent), "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        station.agent.health.ok("running")
        await eventually(station.agent.is_ready)
        assert (await ask(session, "/healthz"))[0] == 200
        assert (await ask(session, "/v1/healthz"))[1]["kubernetes"]["state"] == "Ok"
        station.agent.meter.quorum_error("timeout")
        station.agent.dumps = {"cilium_metrics": lambda: [DENIED]}
        async with session.get("/metrics") as answer:
            text = await answer.text()
            families = {family.name for family in text_string_to_metric_families(text)}
            assert {"cilium_clustermesh_remote_clusters", "process_open_fds"} <= families
            assert 'cilium_clustermesh_remote_clusters{source_cluster="east"} 0\n' in text
            assert 'cilium_kvstore_quorum_errors_total{error="timeout"} 1.0\n' in text
            assert 'cilium_drop_count_total{direction="egress",reason="policy denied"} 2\n' in text
        assert await ask(session, "/v1/global-service") == (200, [])
        for path in ("/v1/endpoint", "/v1/ipam", "/v1/identity", "/v1/service"):
            assert (await ask(session, path))[0] == 404


async def test_identities_of_this_node_s_endpoints_are_counted(station: Station, tmp_path: Path) -> None:
    shared = number(1, 7)
    for each in (endpoint(1, identity=shared), endpoint(2, identity=shared), endpoint(3, "db")):
        station.tables.upsert_endpoint(each)
    async with served(station.agent, tmp_path) as session:
        status, found = await ask(session, "/v1/identity/endpoints")
    told = {each["identity"]["id"]: each["refCount"] for each in found}
    assert (status, told) == (200, {number(1, 3): 1, shared: 2})
    assert all("k8s:app=web" in each["identity"]["labels"] for each in found if each["refCount"] == 2)


async def test_a_services_name_is_resolved_as_for_the_agents_own_connections(
    station: Station, tmp_path: Path
) -> None:
    ports = (ServicePort("etcd", "TCP", 2379),)
    local = LocalService("kube-system", "mesh", {}, ("172.20.1.9",), ports)
    station.tables.services.set_local("kube-system/mesh", local)
    async with served(station.agent, tmp_path) as session:
        assert await ask(session, "/v1/resolve/mesh.kube-system.svc") == (200, ["172.20.1.9"])
        assert await ask(session, "/v1/resolve/west.mesh.cilium.io") == (200, [])
