"""Addresses of pods, as a CNI plugin asks for them (/v1/ipam)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from agent.apireply import AGENT, lifecycle_of, reply
from agent.errors import RequestError

IPV6_GATEWAY = "fe80::1"  # every pod's: its programs answer for it


async def _ipam(request: web.Request) -> web.Response:
    pools = lifecycle_of(request).pools
    told = {"cidr": pools.ipv4.cidr, "gateway": pools.ipv4.gateway, "allocations": pools.owners}
    return reply(told | ({"ipv6-cidr": pools.ipv6.cidr} if pools.ipv6 else {}))


async def _allocate(request: web.Request) -> web.Response:
    owner = request.query.get("owner", "")
    family = request.query.get("family", "")
    if family not in ("", "ipv4", "ipv6"):
        raise RequestError("a family is ipv4 or ipv6; without one it is both")
    if not owner or len(owner) > 512:
        raise RequestError("an owner is needed: namespace/pod")
    lifecycle = lifecycle_of(request)
    pools = lifecycle.pools
    if family == "ipv6" and pools.ipv6 is None:
        raise RequestError("this node has no IPv6 addresses for pods")
    found = await lifecycle.allocate(owner, ipv4=family != "ipv6", ipv6=family != "ipv4")
    told: dict[str, Any] = {"address": {}}
    ours = {"mtu": request.app[AGENT].mtu}  # Cilium's plugin asks for it apart
    if found.ipv4:
        told["address"]["ipv4"] = found.ipv4
        told["ipv4"] = {"ip": found.ipv4, "gateway": pools.ipv4.gateway, "cidrs": [pools.ipv4.cidr]} | ours
    if found.ipv6 and pools.ipv6:
        told["address"]["ipv6"] = found.ipv6
        told["ipv6"] = {"ip": found.ipv6, "gateway": IPV6_GATEWAY, "cidrs": [pools.ipv6.cidr]} | ours
    return reply(told, 201)


async def _release(request: web.Request) -> web.Response:
    await lifecycle_of(request).release(request.match_info["ip"])
    return web.Response(status=200)


ROUTES = [
    web.get("/v1/ipam", _ipam),
    web.post("/v1/ipam", _allocate),
    web.delete("/v1/ipam/{ip}", _release),
]
