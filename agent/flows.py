"""A packet's event in words: who is behind its addresses. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agent.endpoints import Endpoint
from agent.ipcache import host_prefix
from agent.tables import Tables
from bpf.event_map import Event
from mesh.addressing import ReservedIdentity


def describe(event: Event, tables: Tables, boot: float) -> dict[str, Any]:
    """`boot`: the wall clock's seconds when the monotonic clock was 0."""
    endpoint = tables.endpoints.get(event.endpoint_id)
    ours = endpoint.identity if endpoint else 0
    inward = event.direction == "ingress"
    source, destination = (event.peer, ours) if inward else (ours, event.peer)
    return {
        "time": datetime.fromtimestamp(boot + event.time / 1e9, UTC).isoformat(timespec="milliseconds"),
        "type": event.kind,
        "reason": event.reason,
        "direction": event.direction,
        "endpoint": event.endpoint_id,
        "source": _side(event.source, event.source_port, source, tables),
        "destination": _side(event.destination, event.destination_port, destination, tables),
        "protocol": event.protocol,
        "tcp-flags": event.tcp_flags,
        "length": event.length,
    }


def _side(address: str, port: int, identity: int, tables: Tables) -> dict[str, Any]:
    local = _local(address, tables)
    entry = tables.ipcache.wanted.entries.get(host_prefix(address))
    known = entry.identity if entry else int(ReservedIdentity.WORLD)
    return {
        "ip": address,
        "port": port,
        "identity": identity or (local.identity if local else known),
        "pod": local.pod if local else "",
    }


def _local(address: str, tables: Tables) -> Endpoint | None:
    programmed = tables.policies.endpoints.entries.get(address)
    return programmed.endpoint if programmed else None
