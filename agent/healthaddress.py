"""The node's health endpoint: an address among its pods', so that who asks there asks through the data path;
one of each family that pods have.

Cilium's, without a namespace of its own: the address is the node's, and the kernel answers for it (an echo,
or a closed port) also while no agent runs. Of what comes through the tunnel only other nodes' probes reach it
(`bpf/include/host.h`).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network

from aiohttp import web

from agent.endpoints import Stored
from agent.ipam import Addresses, AddressPool, Pools
from aiokit.http import serve_tcp

log = logging.getLogger(__name__)

PORT = 4240  # Cilium's
OWNER = "health"  # in the pool; pods' owners have a slash
_SMALLEST_POOL = 8  # addresses: pods come first


def take_health_addresses(pools: Pools, stored: Stored) -> Addresses:
    return Addresses(
        take_health_address(pools.ipv4, stored),
        take_health_address(pools.ipv6, stored) if pools.ipv6 else "",
    )


def take_health_address(pool: AddressPool, stored: Stored) -> str:
    """The address it had in an earlier life, else the last free one; "" where pods need them all."""
    network = ip_network(pool.cidr)
    given = stored.addresses | stored.addresses6
    pods = {ip for ip, owner in given.items() if owner != OWNER}
    pods |= {ip for endpoint in stored.endpoints for ip in endpoint.addresses}
    held = [ip for ip, owner in given.items() if owner == OWNER and ip_address(ip) in network]
    pods = {ip for ip in pods if ip and ip_address(ip) in network}
    if not held and pool.capacity - len(pods) < _SMALLEST_POOL:
        return ""
    last = (str(network[-at]) for at in range(2, network.num_addresses - 1))
    address = held[0] if held else next(ip for ip in last if ip not in pods)
    pool.reserve(address, OWNER)
    return address


async def answer(*addresses: str) -> None:
    """Serve there until cancelled. Who cannot is no worse than a closed port, which is an answer too."""
    async with AsyncExitStack() as served:
        for address in addresses:
            try:
                await served.enter_async_context(serve_tcp(application(), address, PORT))
            except OSError as error:
                log.warning("nobody serves probes at %s port %s: %s", address, PORT, error)
        await asyncio.Event().wait()


def application() -> web.Application:
    """What Cilium's prober asks nodes and health endpoints for."""
    app = web.Application()
    for path in ("/hello", "/v1beta/hello"):
        app.router.add_get(path, _hello)
    return app


async def _hello(_: web.Request) -> web.Response:
    return web.Response(status=200)
