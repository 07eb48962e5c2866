"""Endpoints, as a CNI plugin asks for them (/v1/endpoint)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import msgspec
from aiohttp import web

from agent.agent import Agent
from agent.apireply import AGENT, lifecycle_of, reply
from agent.endpointrequest import Request
from agent.endpoints import Endpoint
from agent.errors import NotFoundError, RequestError


class _Addressing(msgspec.Struct):
    ipv4: str = ""
    ipv6: str = ""


class _EndpointChangeRequest(msgspec.Struct, rename="kebab"):
    """Unknown fields are ignored: plugins tell more than we need."""

    container_id: str = ""
    interface_name: str = ""
    interface_index: int = 0
    mac: str = ""
    host_mac: str = ""
    addressing: _Addressing = msgspec.field(default_factory=_Addressing)
    pod_name: str = msgspec.field(name="k8s-pod-name", default="")
    namespace: str = msgspec.field(name="k8s-namespace", default="")


async def _endpoints(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    endpoints = agent.tables.endpoints.values() if agent.tables else ()
    return reply([_shown(agent, endpoint) for endpoint in sorted(endpoints, key=lambda e: e.id)])


async def _endpoint(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    wanted = request.match_info["id"].removeprefix("container-id:")
    for endpoint in agent.tables.endpoints.values() if agent.tables else ():
        if wanted in (endpoint.container_id, str(endpoint.id), f"pod-name:{endpoint.pod}"):
            return reply(_shown(agent, endpoint))
    raise NotFoundError(f"no endpoint {wanted}")


async def _create(request: web.Request) -> web.Response:
    wanted = msgspec.json.decode(await request.read(), type=_EndpointChangeRequest)
    container = request.match_info["id"].removeprefix("container-id:")
    if wanted.container_id not in ("", container):
        raise RequestError("the container id in the path and in the body differ")
    needed = {
        "interface-name": wanted.interface_name,
        "interface-index": wanted.interface_index,
        "mac": wanted.mac,
        "host-mac": wanted.host_mac,
        "addressing.ipv4": wanted.addressing.ipv4,
        "k8s-pod-name": wanted.pod_name,
        "k8s-namespace": wanted.namespace,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise RequestError(f"missing: {', '.join(missing)}")
    endpoint = await lifecycle_of(request).create(
        Request(
            container_id=container,
            interface=wanted.interface_name,
            ifindex=wanted.interface_index,
            mac=_mac(wanted.mac),
            host_mac=_mac(wanted.host_mac),
            ipv4=wanted.addressing.ipv4,
            ipv6=_ipv6(wanted.addressing.ipv6),
            pod_name=wanted.pod_name,
            namespace=wanted.namespace,
        )
    )
    return reply(_shown(request.app[AGENT], endpoint), 201)


async def _delete(request: web.Request) -> web.Response:
    await lifecycle_of(request).delete(request.match_info["id"].removeprefix("container-id:"))
    return web.Response(status=200)


def _ipv6(text: str) -> str:
    """As it is written everywhere else; "" for none."""
    try:
        return str(IPv6Address(text)) if text else ""
    except ValueError as error:
        raise RequestError(f"{text!r} is not an IPv6 address") from error


def _mac(text: str) -> str:
    try:
        raw = bytes.fromhex(text.replace(":", ""))
    except ValueError as error:
        raise RequestError(f"{text!r} is not a MAC address") from error
    if len(raw) != 6:
        raise RequestError(f"{text!r} is not a MAC address")
    return raw.hex(":")


def _shown(agent: Agent, endpoint: Endpoint) -> dict[str, Any]:
    tables = agent.tables
    programmed = tables.policies.endpoints.entries.get(endpoint.ipv4) if tables else None
    return {
        "id": endpoint.id,
        "spec": {"label-configuration": {}},
        "status": {
            "state": "ready",
            "identity": {"id": endpoint.identity, "labels": list(endpoint.labels)},
            "networking": {
                "addressing": [endpoint.addressing],
                "interface-name": endpoint.interface,
                "interface-index": endpoint.ifindex,
                "mac": endpoint.mac,
                "host-mac": endpoint.host_mac,
            },
            "external-identifiers": {
                "container-id": endpoint.container_id,
                "k8s-pod-name": endpoint.pod_name,
                "k8s-namespace": endpoint.namespace,
            },
            "policy": {
                "ingress-enforced": bool(programmed and programmed.enforced),
                "egress-enforced": bool(programmed and programmed.egress_enforced),
            },
        },
    }


ROUTES = [
    web.get("/v1/endpoint", _endpoints),
    web.get("/v1/endpoint/{id}", _endpoint),
    web.put("/v1/endpoint/{id}", _create),
    web.delete("/v1/endpoint/{id}", _delete),
]
