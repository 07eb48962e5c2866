"""Ports that pods give a name to, and how an identity's labels carry them (spec 2.7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from mesh.identity import Labels
from mesh.service import Port

NAMED_PORTS_LABEL = "io.cilium.k8s.named-ports"  # and -1, -2 …: a value has 63 characters at most
GENERATED = "gen"

# pods of one identity may mean different ports by one name
NamedPorts: TypeAlias = Mapping[str, tuple[Port, ...]]

_LABELS_READ = 16  # more named ports than fit in these are not a pod's


def from_labels(labels: Labels) -> NamedPorts:
    """What `gen:io.cilium.k8s.named-ports` says: `name.PROTO.port`, joined by `_`. Bad ones are left out."""
    values = [
        label.value
        for label in labels
        if label.source == GENERATED
        and (label.key == NAMED_PORTS_LABEL or label.key.startswith(f"{NAMED_PORTS_LABEL}-"))
    ]
    pairs = [_pair(text) for value in values[:_LABELS_READ] for text in value.split("_")]
    return gathered(pair for pair in pairs if pair)


def gathered(pairs: Iterable[tuple[str, Port]]) -> NamedPorts:
    found: dict[str, set[Port]] = {}
    for name, port in pairs:
        found.setdefault(name, set()).add(port)
    return {name: tuple(sorted(ports, key=_order)) for name, ports in sorted(found.items())}


def merged(*all_ports: NamedPorts) -> NamedPorts:
    return gathered((name, port) for ports in all_ports for name, some in ports.items() for port in some)


def _order(port: Port) -> tuple[str, int]:
    return port.protocol, port.port


def _pair(text: str) -> tuple[str, Port] | None:
    parts = text.rsplit(".", 2)
    if len(parts) != 3 or not parts[0] or not (parts[2].isascii() and parts[2].isdecimal()):
        return None
    number = int(parts[2][:6])
    if parts[1] not in ("TCP", "UDP", "SCTP") or not 0 < number < 65536:
        return None
    return parts[0], Port(parts[1], number)
