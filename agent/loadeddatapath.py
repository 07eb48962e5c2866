"""The programs and maps in the kernel, as this node needs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from agent import node as own_node
from agent.config import MAGLEV, Config, find_cgroup_root
from agent.ipam import Pools
from agent.local import LocalNode
from bpf import datapath as bpf_datapath
from bpf import host_netns, loader
from bpf.loader import NodeOptions


@asynccontextmanager
async def loaded_datapath(
    config: Config, local: LocalNode, devices: own_node.Devices, pools: Pools
) -> AsyncGenerator[bpf_datapath.Datapath]:
    """Attached to the node's devices and to its cgroup; they stay so after the block."""
    options = NodeOptions(
        local.ip,
        devices.vxlan,
        devices.mtu,
        pools.ipv4.gateway,
        next(iter(devices.underlay.ipv4), 0),
        host_netns=host_netns.cookie(),  # our own: the agent is a process of the node
        node_ip6=local.outside_ip6,
        gateway6=pools.ipv6.gateway if pools.ipv6 else "",
        underlay6_ifindex=next(iter(devices.underlay.ipv6), 0),
    )
    await asyncio.to_thread(loader.load, config.bpf_root, options)
    async with AsyncExitStack() as opened:
        loaded = opened.enter_context(bpf_datapath.open(config.bpf_root))
        loaded.services.use_maglev(config.maglev_size, is_default=config.algorithm == MAGLEV)
        if devices.vxlan:
            await asyncio.to_thread(loaded.attach_overlay, devices.vxlan)
        await asyncio.to_thread(loaded.attach_underlay, *devices.underlay.all)
        await asyncio.to_thread(loaded.attach_cgroup, _cgroup(config.cgroup_root))
        yield loaded


def _cgroup(given: Path | None) -> Path:
    root = given or find_cgroup_root(Path("/proc/mounts").read_text())
    root.mkdir(parents=True, exist_ok=True)
    return root
