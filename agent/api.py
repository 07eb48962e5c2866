"""The agent's REST API (spec 8.1): everything on the unix socket, and a read-only part for probes on TCP.

Whoever may open the socket may change endpoints: its file mode is the only guard. Errors are JSON
objects with a `message`; 503 means "not yet, ask again".
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from agent import metrics, servicename
from agent.agent import Agent
from agent.endpoints import Endpoint
from agent.errors import AgentError, ExhaustedError, NotFoundError, NotReadyError, RequestError
from agent.flows import describe
from agent.lifecycle import Lifecycle, Request
from agent.monitor import Watcher
from agent.tables import Tables
from aiokit.probes import registry
from bpf.errors import BPFError
from k8s.errors import KubernetesError
from kvstore.metric import traffic

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AGENT: web.AppKey[Agent] = web.AppKey("agent", Agent)
REGISTRY: web.AppKey[CollectorRegistry] = web.AppKey("registry", CollectorRegistry)
MAX_EVERY = 1_000_000
IPV6_GATEWAY = "fe80::1"  # every pod's: its programs answer for it
HEARTBEAT_SECONDS = 2.0  # a watcher that left is noticed by writing to it
MAX_NAME = 512  # a namespace and a pod have 317 characters
MAX_BODY = 64 * 1024  # an endpoint's description is a few hundred bytes


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


def probes(agent: Agent) -> web.Application:
    """What may be read from the network."""
    app = web.Application(client_max_size=MAX_BODY)
    app[AGENT] = agent
    app[REGISTRY] = registry(lambda: traffic(metrics.PREFIX, agent.meter))
    app.add_routes(
        [
            web.get("/healthz", _ready),
            web.get("/v1/healthz", _healthz),
            web.get("/v1/global-service", _global_services),
            web.get("/metrics", _metrics),
        ]
    )
    return app


def application(agent: Agent) -> web.Application:
    """All of it."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
    app[AGENT] = agent
    app[REGISTRY] = registry(lambda: traffic(metrics.PREFIX, agent.meter))
    app.add_routes(
        [
            web.get("/healthz", _ready),
            web.get("/v1/healthz", _healthz),
            web.get("/metrics", _metrics),
            web.get("/v1/identity", _identities),
            web.get("/v1/identity/{id}", _identity),
            web.get("/v1/ip", _addresses),
            web.get("/v1/service", _services),
            web.get("/v1/global-service", _global_services),
            web.get("/v1/resolve/{host}", _resolve),
            web.get("/v1/cluster/nodes", _nodes),
            web.get("/v1/node/ids", _node_ids),
            web.get("/v1/policy", _policies),
            web.get("/v1/monitor", _monitor),
            web.get("/v1/map", _maps),
            web.get("/v1/map/{name}", _map),
            web.get("/v1/verify", _verify),
            web.get("/v1/trace", _trace),
            web.get("/v1/ipam", _ipam),
            web.post("/v1/ipam", _allocate),
            web.delete("/v1/ipam/{ip}", _release),
            web.get("/v1/endpoint", _endpoints),
            web.get("/v1/endpoint/{id}", _endpoint),
            web.put("/v1/endpoint/{id}", _create),
            web.delete("/v1/endpoint/{id}", _delete),
        ]
    )
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NotFoundError as error:
        return _problem(404, error)
    except (RequestError, msgspec.ValidationError, msgspec.DecodeError) as error:
        return _problem(400, error)
    except (NotReadyError, ExhaustedError, KubernetesError, TimeoutError) as error:
        return _problem(503, error)
    except (AgentError, BPFError) as error:
        log.error("%s %s failed: %s", request.method, request.path, error)
        return _problem(500, error)


def _problem(code: int, error: Exception) -> web.Response:
    return _json({"message": str(error) or type(error).__name__}, code)


def _json(value: Any, code: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=code, content_type="application/json")


async def _ready(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    return _json(agent.healthz()["cilium"], 200 if agent.is_ready() else 503)


async def _healthz(request: web.Request) -> web.Response:
    return _json(request.app[AGENT].healthz())


async def _metrics(request: web.Request) -> web.Response:
    own = metrics.text(request.app[AGENT].metrics())
    return web.Response(text=own + generate_latest(request.app[REGISTRY]).decode())


async def _identities(request: web.Request) -> web.Response:
    return _json(request.app[AGENT].identities())


async def _identity(request: web.Request) -> web.Response:
    wanted = request.match_info["id"]
    for element in request.app[AGENT].identities():
        if str(element["id"]) == wanted:
            return _json(element)
    raise NotFoundError(f"no identity {wanted}")


async def _addresses(request: web.Request) -> web.Response:
    try:
        return _json(request.app[AGENT].addresses(request.query.get("cidr", "")))
    except ValueError as error:
        raise RequestError(str(error)) from error


async def _services(request: web.Request) -> web.Response:
    return _json(request.app[AGENT].services())


async def _global_services(request: web.Request) -> web.Response:
    """Our own: which clusters serve, in numbers. `name` is "namespace/name" of one service."""
    return _json(request.app[AGENT].global_services(request.query.get("name", "")))


async def _resolve(request: web.Request) -> web.Response:
    """Where a Service is reached by its name, as the agent's own connections find it; [] for no Service."""
    tables = request.app[AGENT].tables
    found = servicename.addresses(tables.services, request.match_info["host"]) if tables else ()
    return web.json_response(found)


async def _nodes(request: web.Request) -> web.Response:
    return _json(request.app[AGENT].nodes())


async def _node_ids(request: web.Request) -> web.Response:
    tables = request.app[AGENT].tables
    numbered = tables.node_ids.all() if tables else {}
    return _json([{"id": number, "ips": ips} for number, ips in numbered.items()])


async def _policies(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    refused = agent.kubernetes.view.policies_refused if agent.kubernetes else {}
    known = agent.tables.policies if agent.tables else None
    return _json(
        {
            "policies": known.names if known else [],
            "refused": refused,
            "unsupported": known.unsupported if known else {},
        }
    )


async def _monitor(request: web.Request) -> web.StreamResponse:
    """A JSON object a line for as long as the client stays; an empty line now and then shows that it does."""
    agent = request.app[AGENT]
    monitor, tables = agent.monitor, agent.tables
    if monitor is None or tables is None:
        raise NotReadyError("the agent is starting")
    kinds = request.query.getall("type", ["drop", "trace"])
    if not set(kinds) <= {"drop", "trace"}:
        raise RequestError("a type is drop or trace")
    every = request.query.get("every", "1")
    if not (every.isascii() and every.isdecimal() and 0 < int(every) <= MAX_EVERY):
        raise RequestError(f"every must be a number from 1 to {MAX_EVERY}")
    boot = time.time() - time.monotonic()
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    trace_every = int(every) if "trace" in kinds else 0
    with monitor.watching(drops="drop" in kinds, trace_every=trace_every) as watcher:
        await response.prepare(request)
        try:
            while True:
                await response.write(await _next_line(watcher, tables, boot))
        except ConnectionError:
            return response


async def _next_line(watcher: Watcher, tables: Tables, boot: float) -> bytes:
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            event = await watcher.events.get()
    except TimeoutError:
        return b"\n"
    lost, watcher.lost = watcher.lost, 0
    said = describe(event, tables, boot) | ({"lost": lost} if lost else {})
    return msgspec.json.encode(said) + b"\n"


async def _maps(request: web.Request) -> web.Response:
    return _json({"maps": [{"name": name} for name in sorted(request.app[AGENT].dumps)]})


async def _map(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    dump = request.app[AGENT].dumps.get(name)
    if dump is None:
        raise NotFoundError(f"no map {name}")
    return _json({"name": name, "entries": await asyncio.to_thread(dump)})


async def _verify(request: web.Request) -> web.Response:
    """All maps and hooks against what is wanted of them (agent.verify)."""
    verifier = request.app[AGENT].verifier
    if verifier is None:
        raise NotReadyError("the agent is starting")
    return _json(await verifier.verify())


async def _trace(request: web.Request) -> web.Response:
    """The way of one new connection (agent.trace)."""
    tracer = request.app[AGENT].tracer
    if tracer is None:
        raise NotReadyError("the agent is starting")
    source, destination = request.query.get("source", ""), request.query.get("destination", "")
    port = request.query.get("port", "")
    if not source or not destination or max(len(source), len(destination)) > MAX_NAME:
        raise RequestError("a source and a destination are needed")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536 and len(port) < 6):
        raise RequestError("the port must be a number from 1 to 65535")
    try:
        return _json(await tracer.trace(source, destination, int(port), request.query.get("protocol", "TCP")))
    except ValueError as error:
        raise RequestError(str(error)) from error


async def _ipam(request: web.Request) -> web.Response:
    pools = _lifecycle(request).pools
    told = {"cidr": pools.ipv4.cidr, "gateway": pools.ipv4.gateway, "allocations": pools.owners}
    return _json(told | ({"ipv6-cidr": pools.ipv6.cidr} if pools.ipv6 else {}))


async def _allocate(request: web.Request) -> web.Response:
    owner = request.query.get("owner", "")
    family = request.query.get("family", "")
    if family not in ("", "ipv4", "ipv6"):
        raise RequestError("a family is ipv4 or ipv6; without one it is both")
    if not owner or len(owner) > 512:
        raise RequestError("an owner is needed: namespace/pod")
    lifecycle = _lifecycle(request)
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
    return _json(told, 201)


async def _release(request: web.Request) -> web.Response:
    await _lifecycle(request).release(request.match_info["ip"])
    return web.Response(status=200)


async def _endpoints(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    endpoints = agent.tables.endpoints.values() if agent.tables else ()
    return _json([_shown(agent, endpoint) for endpoint in sorted(endpoints, key=lambda e: e.id)])


async def _endpoint(request: web.Request) -> web.Response:
    agent = request.app[AGENT]
    wanted = request.match_info["id"].removeprefix("container-id:")
    for endpoint in agent.tables.endpoints.values() if agent.tables else ():
        if wanted in (endpoint.container_id, str(endpoint.id), f"pod-name:{endpoint.pod}"):
            return _json(_shown(agent, endpoint))
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
    endpoint = await _lifecycle(request).create(
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
    return _json(_shown(request.app[AGENT], endpoint), 201)


async def _delete(request: web.Request) -> web.Response:
    await _lifecycle(request).delete(request.match_info["id"].removeprefix("container-id:"))
    return web.Response(status=200)


def _lifecycle(request: web.Request) -> Lifecycle:
    lifecycle = request.app[AGENT].lifecycle
    if lifecycle is None:
        raise NotReadyError("the agent is starting")
    return lifecycle


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
