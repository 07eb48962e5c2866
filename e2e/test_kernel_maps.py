"""The kernel's own word, read with bpftool: west's pods in an east agent's map."""

from __future__ import annotations

import json
import struct
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec

from e2e.conftest import Mesh
from k8s.resource import CILIUMENDPOINT, POD
from lab.demo.objects import NAMESPACE


def _dump(pin: Path) -> dict[str, tuple[int, str]]:
    """Of bpftool's bytes: pod IP -> (identity, tunnel endpoint). IPv4 host entries only (spec 6.1)."""
    printed = subprocess.run(
        ["bpftool", "-j", "map", "dump", "pinned", str(pin)], capture_output=True, check=True, timeout=30
    ).stdout
    entries: dict[str, tuple[int, str]] = {}
    for entry in json.loads(printed):
        key, value = (bytes(int(byte, 16) for byte in entry[name]) for name in ("key", "value"))
        bits, _cluster, _pad, family = struct.unpack_from("=IHBB", key)
        if (bits, family) == (64, 1):
            (identity,) = struct.unpack_from("=I", value)
            entries[str(IPv4Address(key[8:12]))] = (identity, str(IPv4Address(value[4:8])))
    return entries


async def _objects(mesh: Mesh, cluster: str) -> dict[str, tuple[int, str]]:
    """What west says of its pods: IP -> (identity, node IP)."""
    async with mesh.lab.kubernetes(cluster) as client:
        endpoints: list[dict[str, Any]] = [
            msgspec.json.decode(raw) for raw in await client.list(CILIUMENDPOINT, NAMESPACE)
        ]
        assert len(endpoints) == len(await client.list(POD, NAMESPACE))
    return {
        address["ipv4"]: (endpoint["status"]["identity"]["id"], endpoint["status"]["networking"]["node"])
        for endpoint in endpoints
        for address in endpoint["status"]["networking"]["addressing"]
    }


async def test_bpftool_shows_wests_pods_with_wests_identity_and_tunnel_endpoint(mesh: Mesh) -> None:
    wanted = await _objects(mesh, "west")
    assert {identity >> 16 for identity, _ in wanted.values()} == {2}
    for node in mesh.plan.cluster("east").nodes[1:]:
        dumped = _dump(node.bpf_root / "v1/maps/cilium_ipcache_v2")
        assert {ip: dumped.get(ip) for ip in wanted} == wanted
