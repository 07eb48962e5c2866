"""`clustermesh-dbg` against a small agent on a unix socket: columns and words that operators know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner, Result

from aiokit.http import serve_unix
from cli.dbg.__main__ import main

WEST: dict[str, Any] = {
    "name": "west",
    "connected": True,
    "ready": True,
    "programmed": True,
    "status": "etcd: 1/1 connected, has-quorum=true, ID: c6ba18866da7dfd8",
    "config": {"required": True, "retrieved": True, "cluster-id": 4, "sync-canaries": True},
    "synced": {"nodes": True, "endpoints": True, "identities": True, "services": True},
    "num-nodes": 3,
    "num-endpoints": 25,
    "num-identities": 8,
    "num-shared-services": 10,
    "last-failure": "0001-01-01T00:00:00Z",
}
WELL = {"state": "Ok", "msg": "fine"}
STATUS: dict[str, Any] = {
    "cilium": WELL,
    "kubernetes": WELL,
    "kvstore": {"state": "Disabled", "msg": "identities are allocated through Kubernetes"},
    "cluster": {"name": "east", "self": "east/node-1"},
    "cluster-mesh": {"clusters": [WEST]},
}
ANSWERS: dict[str, Any] = {
    "/v1/identity": [
        {"id": 131073, "labels": ["k8s:app=web", "k8s:io.cilium.k8s.policy.cluster=west"]},
        {"id": 1, "labels": ["reserved:host"]},
    ],
    "/v1/map/cilium_ipcache_v2": {
        "name": "cilium_ipcache_v2",
        "entries": [
            {
                "key": "10.2.1.4/32",
                "value": "identity=131073 encryptkey=0 tunnelendpoint=198.18.2.11 flags=hastunnel",
            }
        ],
    },
    "/v1/map/cilium_lb4_services_v2": {
        "entries": [
            {
                "key": "172.20.1.9:80/TCP (0)",
                "value": "0.0.0.0:0 (3) (0) [ClusterIP, non-routable]",
                "slot": 0,
            },
            {"key": "172.20.1.9:80/TCP (1)", "value": "10.2.1.4:8080/TCP (3) (1)", "slot": 1},
        ]
    },
    "/v1/map/cilium_policy": {"entries": [{"key": "7 Ingress 131073 0/0", "value": "Allow"}]},
    "/v1/map/cilium_lb4_backends_v3": {"entries": [{"key": "5", "value": "10.2.1.4:8080/TCP"}]},
    "/v1/map/cilium_lb4_reverse_nat": {"entries": [{"key": "3", "value": "172.20.1.9:80"}]},
    "/v1/map/cilium_lxc": {"entries": [{"key": "10.1.1.4", "value": "id=7 sec_id=65537"}]},
    "/v1/map/cilium_ct4_global": {
        "entries": [{"key": "TCP OUT 10.1.1.4:33000 -> 10.2.1.4:8080", "value": "Packets=3"}]
    },
    "/v1/map/cilium_lb6_services_v2": {
        "entries": [
            {"key": "[fd00:20:1::9]:80/TCP (0)", "value": "[::]:0 (1) (0) [ClusterIP]", "slot": 0},
            {"key": "[fd00:20:1::9]:80/TCP (1)", "value": "[fd00:10:2:1::4]:8080/TCP (1) (1)", "slot": 1},
        ]
    },
    "/v1/map/cilium_lb6_backends_v3": {"entries": [{"key": "6", "value": "[fd00:10:2:1::4]:8080/TCP"}]},
    "/v1/map/cilium_lb6_reverse_nat": {"entries": [{"key": "1", "value": "[fd00:20:1::9]:80"}]},
    "/v1/map/cilium_ct6_global": {
        "entries": [{"key": "TCP OUT [fd00:10:1:1::4]:33000 -> [fd00:10:2:1::4]:8080", "value": "Packets=4"}]
    },
    "/v1/map/cilium_lb4_source_range": {"entries": [{"key": "192.0.2.0/24 (3)", "value": "198.51.100.7:80"}]},
    "/v1/map/cilium_lb6_source_range": {
        "entries": [{"key": "2001:db8::/32 (1)", "value": "[2001:db8::7]:80"}]
    },
    "/v1/map/cilium_metrics": {
        "entries": [
            {
                "key": "policy denied ingress",
                "value": "packets=2 bytes=148",
                "number": 133,
                "reason": "policy denied",
                "direction": "ingress",
                "packets": 2,
                "bytes": 148,
            }
        ]
    },
    "/v1/map/cilium_snat_v4_external": {
        "entries": [{"key": "TCP IN 10.2.1.4:8080 -> 10.1.1.1:40000", "value": "XLATE_DST 192.0.2.9:40000"}]
    },
    "/v1/map/cilium_snat_v6_external": {
        "entries": [{"key": "TCP IN [fd00::4]:8080 -> [fd00::1]:40000", "value": "XLATE_DST [fd01::9]:40000"}]
    },
    "/v1/map": {"maps": [{"name": "cilium_lxc"}, {"name": "cilium_policy"}]},
    "/v1/identity/endpoints": [
        {"identity": {"id": 65538, "labels": ["k8s:app=client", "k8s:x="]}, "refCount": 2},
        {"identity": {"id": 65537, "labels": ["reserved:health"]}, "refCount": 1},
    ],
    "/v1/identity/131073": {"id": 131073, "labels": ["k8s:app=web"]},
    "/v1/endpoint/7": {"id": 7, "status": {"state": "ready", "identity": {"id": 65537}}},
    "/v1/service": [
        {
            "spec": {
                "id": 1,
                "frontend-address": {"ip": "172.20.1.9", "port": 80, "protocol": "TCP"},
                "backend-addresses": [
                    {"ip": "10.2.1.4", "port": 8080, "protocol": "TCP", "state": "active", "preferred": True}
                ],
                "flags": {"type": "ClusterIP", "namespace": "default", "name": "web"},
            }
        }
    ],
    "/v1/cluster/nodes": {
        "nodes": [
            {
                "name": "west/node-1",
                "primary-address": {"ipv4": {"ip": "198.18.2.11", "alloc-range": "10.2.1.0/24"}, "ipv6": {}},
                "source": "clustermesh",
            }
        ]
    },
    "/v1/node/ids": [
        {"id": 0, "ips": ["198.18.1.11"]},
        {"id": 2, "ips": ["198.18.2.11", "10.2.1.1"]},
        {"id": 3, "ips": []},
    ],
    "/v1/map/cilium_node_map_v2": {
        "name": "cilium_node_map_v2",
        "entries": [{"key": "198.18.2.11", "value": "id=18", "id": 18, "spi": 0}],
    },
    "/v1/endpoint": [
        {
            "id": 7,
            "status": {
                "state": "ready",
                "identity": {"id": 65537, "labels": ["k8s:app=client"]},
                "networking": {"addressing": [{"ipv4": "10.1.1.4", "ipv6": "fd00:10:1:1::4"}]},
                "policy": {"ingress-enforced": True},
            },
        }
    ],
}
LISTS = {
    ("identity", "list"): ["ID       LABELS", "1        reserved:host", "131073   k8s:app=web"],
    ("identity", "list", "k8s:app=web"): ["ID       LABELS\n131073   k8s:app=web\n"],
    ("identity", "list", "--endpoints"): [
        "ID      LABELS            REFCOUNT\n"
        "65537   reserved:health   1\n"
        "65538   k8s:app=client    2\n"
        "        k8s:x=\n"
    ],
    ("identity", "list", "--endpoints", "k8s:x"): ["65538   k8s:app=client"],
    ("service", "list", "--clustermesh-affinity"): [
        "1    172.20.1.9:80/TCP   ClusterIP      1 => 10.2.1.4:8080/TCP (active) (preferred)"
    ],
    ("bpf", "ipcache", "list"): [
        "IP PREFIX/ADDRESS   IDENTITY",
        "10.2.1.4/32         identity=131073 encryptkey=0 tunnelendpoint=198.18.2.11 flags=hastunnel",
    ],
    ("bpf", "lb", "list"): [
        "SERVICE ADDRESS             BACKEND ADDRESS (REVNAT_ID) (SLOT)",
        "172.20.1.9:80/TCP (0)       0.0.0.0:0 (3) (0) [ClusterIP, non-routable]",
        "172.20.1.9:80/TCP (1)       10.2.1.4:8080/TCP (3) (1)",
        "[fd00:20:1::9]:80/TCP (1)   [fd00:10:2:1::4]:8080/TCP (1) (1)",
    ],
    ("bpf", "lb", "list", "--frontends"): [
        "SERVICE ADDRESS             BACKEND ADDRESS (REVNAT_ID) (SLOT)\n"
        "172.20.1.9:80/TCP (0)       0.0.0.0:0 (3) (0) [ClusterIP, non-routable]\n"
        "[fd00:20:1::9]:80/TCP (0)   [::]:0 (1) (0) [ClusterIP]\n"
    ],
    ("bpf", "lb", "list", "--backends"): [
        "BACKEND ID   BACKEND ADDRESS (REVNAT_ID) (SLOT)\n5            10.2.1.4"
    ],
    ("bpf", "lb", "list", "--revnat"): [
        "ID   BACKEND ADDRESS (REVNAT_ID) (SLOT)\n3    172.20.1.9:80\n1    [fd00:20:1::9]:80"
    ],
    ("bpf", "lb", "list", "--source-ranges"): [
        "SOURCE RANGE (REVNAT_ID)   SERVICE ADDRESS\n"
        "192.0.2.0/24 (3)           198.51.100.7:80\n"
        "2001:db8::/32 (1)          [2001:db8::7]:80\n"
    ],
    ("bpf", "metrics", "list"): [
        "REASON          DIRECTION   PACKETS   BYTES\nPolicy denied   INGRESS     2         148\n"
    ],
    ("bpf", "endpoint", "list"): ["IP ADDRESS   LOCAL ENDPOINT INFO", "10.1.1.4     id=7 sec_id=65537"],
    ("bpf", "ct", "list", "global"): [
        "TCP OUT 10.1.1.4:33000 -> 10.2.1.4:8080                   Packets=3",
        "TCP OUT [fd00:10:1:1::4]:33000 -> [fd00:10:2:1::4]:8080   Packets=4",
    ],
    ("bpf", "nat", "list"): [
        "TCP IN 10.2.1.4:8080 -> 10.1.1.1:40000     XLATE_DST 192.0.2.9:40000",
        "TCP IN [fd00::4]:8080 -> [fd00::1]:40000   XLATE_DST [fd01::9]:40000",
    ],
    ("map", "list"): ["Name\ncilium_lxc\ncilium_policy\n"],
    ("map", "get", "cilium_lxc"): ["Key        Value\n10.1.1.4   id=7 sec_id=65537\n"],
    ("identity", "get", "131073"): ["131073   k8s:app=web"],
    ("endpoint", "get", "7"): ["7          Disabled           Disabled          65537"],
    ("bpf", "policy", "list"): ["7 Ingress 131073 0/0"],
    ("service", "list"): [
        "ID   Frontend            Service Type   Backend",
        "1    172.20.1.9:80/TCP   ClusterIP      1 => 10.2.1.4:8080/TCP (active)",
    ],
    ("node", "list"): [
        "west/node-1   198.18.2.11    10.2.1.0/24                                    clustermesh"
    ],
    ("nodeid", "list"): [
        "NODE ID   IP ADDRESSES\n0         198.18.1.11\n2         198.18.2.11\n          10.2.1.1\n"
    ],
    ("bpf", "nodeid", "list"): ["NODE ID   IP ADDRESSES   SPI\n0x12      198.18.2.11    0\n"],
    ("endpoint", "list"): [
        "7          Enabled            Disabled          65537      k8s:app=client                "
        "fd00:10:1:1::4   10.1.1.4   ready",
    ],
}


@asynccontextmanager
async def agent(socket: Path, answers: dict[str, Any]) -> AsyncGenerator[None]:
    async def answer(request: web.Request) -> web.Response:
        found = answers.get(request.path)
        if found is None:
            return web.json_response({"message": "nothing there"}, status=404)
        return web.Response(body=found if isinstance(found, bytes) else msgspec.json.encode(found))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with serve_unix(app, socket):
        yield


async def dbg(tmp_path: Path, answers: dict[str, Any], *arguments: str) -> Result:
    socket = tmp_path / "cilium.sock"
    async with agent(socket, answers):
        words = ["--host", str(socket), *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, words)


@pytest.mark.parametrize("command", sorted(LISTS), ids=" ".join)
async def test_a_list_has_the_columns_that_operators_know(command: tuple[str, ...], tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, *command)
    assert result.exit_code == 0, result.output
    for line in LISTS[command]:
        assert line in result.stdout


async def test_further_labels_stand_below_the_first(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "identity", "list")
    assert "\n         k8s:io.cilium.k8s.policy.cluster=west\n" in result.stdout


@pytest.mark.parametrize("command", sorted(LISTS), ids=" ".join)
async def test_json_is_what_the_agent_sent(command: tuple[str, ...], tmp_path: Path) -> None:
    said = msgspec.json.decode((await dbg(tmp_path, ANSWERS, *command, "-o", "json")).stdout)
    if command[1] in {"lb", "ct", "nat"}:  # of both families, the second behind the first
        maps = [a["entries"] for path, a in ANSWERS.items() if path.startswith("/v1/map/cilium_")]
        assert any(said["entries"] == one + other for one in maps for other in maps)
    elif {"k8s:app=web", "k8s:x"} & {*command}:
        assert any(len(said) == 1 and said[0] in all_ for all_ in ANSWERS.values() if isinstance(all_, list))
    else:
        assert said in ANSWERS.values()


@pytest.mark.parametrize("command", sorted(LISTS), ids=" ".join)
async def test_yaml_and_a_template_of_everything_say_what_the_json_says(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    said = msgspec.json.decode((await dbg(tmp_path, ANSWERS, *command, "-o", "json")).stdout)
    assert yaml.safe_load((await dbg(tmp_path, ANSWERS, *command, "-o", "yaml")).stdout) == said
    whole = (await dbg(tmp_path, ANSWERS, *command, "-o", "jsonpath={}")).stdout
    assert msgspec.json.decode(whole) == said


async def test_a_template_takes_what_it_names(tmp_path: Path) -> None:
    ask = ("service", "list", "-o", "jsonpath={range [*]}{.spec.id} {..ip}{'\\n'}{end}")
    assert (await dbg(tmp_path, ANSWERS, *ask)).stdout == "1 172.20.1.9 10.2.1.4\n\n"


@pytest.mark.parametrize("output", ["jsonpath={.a", "jsonpath={range .a}", "xml", "jsonpath"])
async def test_what_is_no_format_is_a_mistake_of_the_caller(output: str, tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "service", "list", "-o", output)
    assert result.exit_code == 2
    assert "Error" in result.stderr


async def test_labels_that_no_identity_has_are_exit_status_1(tmp_path: Path) -> None:
    result = await dbg(tmp_path, ANSWERS, "identity", "list", "k8s:app=web", "k8s:app=db")
    assert (result.exit_code, result.stdout) == (1, "ID   LABELS\n")


async def test_the_status_of_a_peer_reads_as_cilium_prints_it(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {"/v1/healthz": STATUS}, "status", "--all-clusters")
    assert result.exit_code == 0
    expected = """\
ClusterMesh:             1/1 remote clusters ready
   west: ready, 3 nodes, 25 endpoints, 8 identities, 10 services, 0 endpoint slices, \
0 MCS-API service exports, 0 reconnections (last: never)
   └  etcd: 1/1 connected, has-quorum=true, ID: c6ba18866da7dfd8
   └  remote configuration: expected=true, retrieved=true, cluster-id=4, kvstoremesh=false, \
sync-canaries=true, service-exports=unsupported, endpoint-slice-export-mode=services-only
   └  synchronization status: nodes=true, endpoints=true, identities=true, services=true
   └  programmed: true
"""
    assert expected in result.stdout


async def test_only_peers_that_are_not_ready_get_details_by_default(tmp_path: Path) -> None:
    north = {
        "name": "north",
        "status": "Waiting for initial connection to be established",
        "refusals": {"x": 2},
    }
    status = {**STATUS, "cluster-mesh": {"clusters": [WEST, north]}}
    result = await dbg(tmp_path, {"/v1/healthz": status}, "status")
    assert "1/2 remote clusters ready" in result.stdout
    assert "west: ready" not in result.stdout
    assert "north: not-ready" in result.stdout
    assert "refused 2: x" in result.stdout


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"refusals": {"not in its range": 3}}, "refused 3: not in its range"),
        ({"outside-addresses": 2}, "2 addresses outside of its own nodes and pod CIDRs"),
    ],
)
async def test_a_ready_peer_whose_word_was_doubted_is_shown_in_full(
    odd: dict[str, Any], words: str, tmp_path: Path
) -> None:
    status = {**STATUS, "cluster-mesh": {"clusters": [{**WEST, **odd}]}}
    result = await dbg(tmp_path, {"/v1/healthz": status}, "status")
    assert "west: ready" in result.stdout
    assert words in result.stdout


async def test_a_policy_that_is_enforced_in_part_is_shown_and_makes_no_agent_ill(tmp_path: Path) -> None:
    text = "1 policies; shop/p in part not enforced: egress"
    status = {**STATUS, "policy": {"state": "Warning", "msg": text}}
    full = await dbg(tmp_path, {"/v1/healthz": status}, "status")
    assert f"Warning  {text}" in full.stdout
    brief = await dbg(tmp_path, {"/v1/healthz": status}, "status", "--brief")
    assert (brief.exit_code, brief.stdout) == (0, "OK\n")


async def test_how_full_the_maps_are_is_a_line(tmp_path: Path) -> None:
    maps = {"state": "Warning", "msg": "cilium_ipcache_v2 has no room for 3 entries"}
    result = await dbg(tmp_path, {"/v1/healthz": {**STATUS, "bpf-maps": maps}}, "status")
    assert "BPF Maps:                Warning  cilium_ipcache_v2 has no room for 3 entries\n" in result.stdout


async def test_what_hinders_a_balancer_is_said_and_does_not_make_the_agent_ill(tmp_path: Path) -> None:
    told = {
        "services": {"state": "Warning", "msg": "shop/web: service.cilium.io/affinity: 'near' is unknown"},
        "health-ports": {"state": "Warning", "msg": "the health of shop/web cannot be told at port 30123"},
    }
    result = await dbg(tmp_path, {"/v1/healthz": {**STATUS, **told}}, "status")
    assert result.exit_code == 0
    assert "Services:                Warning  shop/web: service.cilium.io/affinity" in result.stdout
    assert "Health Ports:            Warning  the health of shop/web cannot be told" in result.stdout


async def test_nodes_that_do_not_answer_are_named_and_the_others_on_demand(tmp_path: Path) -> None:
    fine = {"name": "west/node-1", "address": "198.18.2.11", "cluster": "west", "withdrawn": ""}
    silent = {**fine, "name": "west/node-2", "address": "198.18.2.12", "withdrawn": "it does not answer"}
    nodes = [
        {**fine, "state": "reachable", "milliseconds": 0.31},
        {**silent, "state": "silent", "milliseconds": 0.3},
    ]
    answers = {"/v1/healthz": {**STATUS, "node-health": {"reachable": 1, "nodes": nodes}}}
    result = await dbg(tmp_path, answers, "status")
    lost = "   west/node-2 198.18.2.12: silent, withdrawn: it does not answer\n"
    assert f"Node health:             1/2 nodes of peers reachable\n{lost}" in result.stdout
    result = await dbg(tmp_path, answers, "status", "--all-nodes")
    assert f"   west/node-1 198.18.2.11: reachable, 0.31 ms\n{lost}" in result.stdout


async def test_a_node_whose_health_endpoint_is_silent_is_named(tmp_path: Path) -> None:
    endpoint = {"address": "10.2.1.254", "state": "silent", "milliseconds": 0.5}
    node = {"name": "west/node-1", "address": "198.18.2.11", "cluster": "west", "withdrawn": ""}
    node |= {"state": "reachable", "milliseconds": 0.31}
    counts = {"reachable": 1, "health-endpoints": 1, "health-endpoints-reachable": 0}
    nodes = [{**node, "health-endpoint": endpoint}]
    answers = {"/v1/healthz": {**STATUS, "node-health": {**counts, "nodes": nodes}}}
    result = await dbg(tmp_path, answers, "status")
    assert "1/1 nodes of peers reachable, 0/1 health endpoints\n" in result.stdout
    line = "   west/node-1 198.18.2.11: reachable, 0.31 ms, endpoint 10.2.1.254: "
    assert f"{line}silent\n" in result.stdout
    endpoint["state"] = "reachable"
    assert "10.2.1.254" not in (await dbg(tmp_path, answers, "status")).stdout
    assert f"{line}reachable, 0.5 ms\n" in (await dbg(tmp_path, answers, "status", "--verbose")).stdout
    nodes[0]["health-endpoint-ipv6"] = {"address": "fd00::fe", "state": "silent", "milliseconds": 0.0}
    stdout = (await dbg(tmp_path, answers, "status")).stdout
    assert f"{line}reachable, 0.5 ms, endpoint fd00::fe: silent\n" in stdout


async def test_brief_is_ok_or_the_first_error(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {"/v1/healthz": STATUS}, "status", "--brief")
    assert (result.exit_code, result.stdout) == (0, "OK\n")
    ill = {**STATUS, "kubernetes": {"state": "Failure", "msg": "no answer"}}
    result = await dbg(tmp_path, {"/v1/healthz": ill}, "status", "--brief")
    assert (result.exit_code, result.stdout) == (1, "error in kubernetes: no answer\n")


def test_without_an_agent_one_line_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["identity", "list", "-H", f"unix://{tmp_path}/none.sock"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: no agent answers at {tmp_path}/none.sock")


async def test_an_answer_that_is_not_understood_is_an_error(tmp_path: Path) -> None:
    for body in (b"", b"<html>", b"[3]", b'{"nodes":[{}]}'):
        result = await dbg(tmp_path, {"/v1/cluster/nodes": body}, "node", "list")
        assert result.exit_code == 1
        assert "is not understood" in result.stderr


async def test_a_map_that_the_agent_does_not_have_is_an_error(tmp_path: Path) -> None:
    result = await dbg(tmp_path, {}, "bpf", "lb", "list")
    assert result.exit_code == 1
    assert "answered 404" in result.stderr


async def test_the_socket_may_be_named_by_the_environment(tmp_path: Path) -> None:
    socket = tmp_path / "cilium.sock"
    async with agent(socket, ANSWERS):
        result = await asyncio.to_thread(
            CliRunner().invoke, main, ["endpoint", "list"], env={"CILIUM_SOCK": str(socket)}
        )
    assert result.exit_code == 0, result.output
