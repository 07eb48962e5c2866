"""The way of one new connection, before anybody opens it: service, backends, identities, policies, tunnel.

Answered from the tables that the kernel's maps are made of, and held against what the maps say. Established
connections are not asked about: their packets pass whatever policy has become meanwhile. Opens nothing and
sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agent.endpoints import Endpoint
from agent.errors import NotFoundError, RequestError
from agent.labels import texts
from agent.tables import Tables
from agent.traceoutside import PREFIX, OutsideLookup
from agent.tracepath import UNKNOWN, Held, Names, Paths
from agent.traceservice import ServiceLookup, is_address
from agent.verdict import ALLOWED, DENIED
from bpf.lb_map import protocol_number
from mesh.identity import Labels

__all__ = ["Names", "Tracer"]

NO_BACKEND = "no backend"
LOOKS, PAUSE_SECONDS = 3, 0.1  # a difference is told when it stays
MAX_PATHS = 64  # backends whose way is told; a service may have ten thousand


class Tracer:
    def __init__(self, tables: Tables, held: Held, names: Names) -> None:
        self._tables = tables
        self._names = names
        self._paths = Paths(tables, held, names)
        self._services = ServiceLookup(tables, held, names, self._paths)
        self._clients = OutsideLookup(tables, self._paths)

    async def trace(self, source: str, destination: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
        """For the API. `source`: an endpoint of this node by "namespace/pod", address or number; or
        "identity:<number>" for who comes from elsewhere, of whom only the arrival here is told; or
        "client:<address>", outside of the cluster, who meets this node.

        Raises NotFoundError and RequestError, in words for who asked; ValueError for an unknown protocol.
        """
        for _ in range(LOOKS - 1):
            found = await self._once(source, destination, port, protocol)
            if not found["differences"]:
                return found
            await asyncio.sleep(PAUSE_SECONDS)  # a change may be on its way into the kernel
        return await self._once(source, destination, port, protocol)

    async def _once(self, source: str, destination: str, port: int, protocol: str) -> dict[str, Any]:
        number = protocol_number(protocol)
        if source.startswith(PREFIX):
            return await self._outside(source.removeprefix(PREFIX), destination, port, protocol)
        sender, identity = self._source(source)
        namespace = sender.namespace if sender else "default"
        frontend = self._services.find(destination, port, protocol.upper(), namespace)
        service, differences = None, list[str]()
        if frontend is None:
            ends = [(ip, port, number) for ip in self._addresses(destination)]
        else:
            service, differences = await self._services.tell(frontend)
            chosen = self._tables.services.wanted.entries.get(frontend, ())
            ends = [(backend.ip, backend.port, protocol_number(backend.protocol)) for backend in chosen]
        paths = []
        for end in ends[:MAX_PATHS]:
            path, more = self._paths.tell(sender, identity, *end)
            paths.append(path)
            differences += more
            await asyncio.sleep(0)  # each costs as much as there are policies
        return {
            "source": _told(sender, identity, self._paths.labels(identity)),
            "destination": {"asked": destination, "port": port, "protocol": protocol.upper()},
            "service": service,
            "paths": paths,
            "paths-left-out": max(0, len(ends) - MAX_PATHS),
            "differences": differences,
            "verdict": _verdict(paths),
        }

    async def _outside(self, source: str, destination: str, port: int, protocol: str) -> dict[str, Any]:
        """Of a client outside, at this node."""
        client, identity = self._clients.client(source)
        frontend = self._clients.find(destination, port, protocol.upper())
        service, differences = await self._services.tell(frontend)
        refusal = self._clients.refusal(client, frontend)
        chosen = self._tables.services.wanted.entries.get(frontend, ())
        ends = [] if refusal else [(b.ip, b.port, protocol_number(b.protocol)) for b in chosen]
        told = self._clients.paths(identity, ends[:MAX_PATHS])
        paths = [path for path, _ in told]
        return {
            "source": {"client": client, "identity": identity, "labels": texts(self._paths.labels(identity))},
            "destination": {"asked": destination, "port": port, "protocol": protocol.upper()},
            "service": service,
            "refused": refusal,
            "paths": paths,
            "paths-left-out": max(0, len(ends) - MAX_PATHS),
            "differences": differences + [each for _, more in told for each in more],
            "verdict": DENIED if refusal else _verdict(paths),
        }

    def _source(self, source: str) -> tuple[Endpoint | None, int]:
        if source.startswith("identity:"):
            text = source.removeprefix("identity:")
            if not (text.isascii() and text.isdecimal() and len(text) <= 10):
                raise RequestError(f"{text!r} is not an identity's number")
            return None, int(text)
        for endpoint in self._tables.endpoints.values():
            if source in (endpoint.pod, *endpoint.addresses, str(endpoint.id)):
                return endpoint, endpoint.identity
        raise NotFoundError(f"no endpoint of this node is {source!r}: ask the agent on its node")

    def _addresses(self, name: str) -> Sequence[str]:
        if is_address(name):
            return [name]
        for endpoint in self._tables.endpoints.values():
            if endpoint.pod == name:
                return endpoint.addresses
        found = self._names.pod(name)
        if not found:
            raise NotFoundError(f"{name!r} is no service and no pod of this cluster: give an address")
        return found


def _told(endpoint: Endpoint | None, identity: int, labels: Labels) -> dict[str, Any]:
    if endpoint is None:
        return {"identity": identity, "labels": texts(labels)}
    return {
        "endpoint": endpoint.id,
        "pod": endpoint.pod,
        "ip": endpoint.ipv4,
        "identity": identity,
        "labels": list(endpoint.labels),
    }


def _verdict(paths: Sequence[Mapping[str, Any]]) -> str:
    """The worst of what may happen; a connection meets one of the paths."""
    if not paths:
        return NO_BACKEND
    found = {side["verdict"] for path in paths for side in (path["egress"], path["ingress"]) if side}
    return next((each for each in (DENIED, UNKNOWN) if each in found), ALLOWED)
